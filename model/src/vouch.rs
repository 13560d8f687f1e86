// SPDX-License-Identifier: GPL-3.0-or-later
//! What a proof leaves behind of hosts that have no problem: enough to prove others beside them
//! without reading them again.

pub use crate::check::Load;
use crate::check::claims::{self, Claims};
use std::collections::{BTreeSet, HashMap};

/// Something that is unique in the fleet: a name, an address, a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimId {
    high: u64,
    low: u64,
    kind: u8,
}

impl ClaimId {
    /// How many bytes it has.
    pub const LENGTH: usize = 17;

    /// That a domU has this name.
    pub fn of_domu(name: &str) -> Self {
        claims::domu(name)
    }

    pub(crate) fn new(kind: u8, key: u128) -> Self {
        let [high, low] = [(key >> 64) as u64, key as u64];
        Self { high, low, kind }
    }

    pub(crate) fn kind(self) -> u8 {
        self.kind
    }

    pub(crate) fn with_kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// As bytes.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [self.kind; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.high.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.low.to_le_bytes());
        bytes
    }

    /// From the bytes that it was.
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let [key @ .., kind] = bytes;
        let key = u128::from_le_bytes(key);
        Self {
            high: key as u64,
            low: (key >> 64) as u64,
            kind,
        }
    }
}

/// Hosts that have no problem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vouched {
    /// The hosts.
    pub hosts: Vec<VouchedHost>,
    /// What they claim, in order and each once; and which of `hosts` does.
    pub claims: Vec<(ClaimId, usize)>,
}

/// A host that has no problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VouchedHost {
    /// What its directory in `pservers/` is called.
    pub directory: String,
    /// How many domUs it has.
    pub domus: usize,
    /// What it carries, if it is in a group that promises to survive a loss.
    pub loads: Vec<Load>,
}

/// A host that was added to a proof.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What its directory is called.
    pub(crate) directory: String,
    pub(crate) domus: usize,
    /// Where its claims end; they begin where those of the one before it do.
    pub(crate) claims: usize,
    /// Whether its documents have no problem by themselves.
    pub(crate) is_clean: bool,
}

impl Vouched {
    /// Those of the hosts seen that are clean and claim nothing that another claims.
    pub(crate) fn of(seen: &[Seen], all: &Claims, loads: &[Load]) -> Self {
        let starts = [0].into_iter().chain(seen.iter().map(|seen| seen.claims));
        let claims = seen.iter().zip(starts).enumerate();
        let claims = claims.flat_map(|(number, (seen, start))| {
            let ids = all.ids(start..seen.claims);
            ids.map(move |id| (id, number))
        });
        let mut claims: Vec<(ClaimId, usize)> = claims.collect();
        claims.sort_unstable();
        let twice = claims
            .chunk_by(|a, b| a.0 == b.0 || claims::rival(a.0) == Some(b.0))
            .filter(|one| one.len() > 1);
        let disputed: BTreeSet<usize> = twice.flatten().map(|(_, number)| *number).collect();
        let mut of_hosts: HashMap<&str, Vec<Load>> = HashMap::new();
        for load in loads {
            of_hosts.entry(&load.host).or_default().push(load.clone());
        }
        let mut vouched = Self::default();
        let mut numbers = vec![None; seen.len()];
        for (number, seen) in seen.iter().enumerate() {
            if seen.is_clean && !disputed.contains(&number) {
                numbers[number] = Some(vouched.hosts.len());
                vouched.hosts.push(VouchedHost {
                    directory: seen.directory.clone(),
                    domus: seen.domus,
                    loads: of_hosts.remove(&*seen.directory).unwrap_or_default(),
                });
            }
        }
        let claims = claims.into_iter();
        let claims = claims.filter_map(|(id, number)| Some((id, numbers[number]?)));
        vouched.claims = claims.collect();
        vouched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::load::{Frame, Proof};

    /// A fleet in which each of these hosts has this text in `[machine]` and one domU.
    fn files(hosts: &[(&str, &str)]) -> Files {
        let mut files = Files::new();
        files.insert("domus.toml", b"version = 1\nfleet = \"example\"\n".to_vec());
        files.insert("images/base.toml", b"version = 1\nrevision = 1\n".to_vec());
        for (host, machine) in hosts {
            let text = format!("version = 1\n[machine]\nmemory = \"4GiB\"\n{machine}\n");
            files.insert(format!("pservers/{host}/host.toml"), text.into_bytes());
            let text = b"version = 1\nimage = \"base@1\"\n".to_vec();
            files.insert(format!("pservers/{host}/domUs/of-{host}.toml"), text);
        }
        files
    }

    #[test]
    fn claims_are_what_they_were_as_bytes() {
        let id = ClaimId::new(7, 0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(ClaimId::from_bytes(id.to_bytes()), id);
        assert_eq!(id.to_bytes()[16], 7);
    }

    #[test]
    fn a_host_that_is_called_like_a_domu_is_not_vouched_for() {
        let files = files(&[
            ("alpha", "serial = \"A\""),
            ("beta", "serial = \"B\""),
            ("of-beta", "serial = \"C\""),
        ]);
        let frame = Frame::read(&files.shared);
        let mut proof = Proof::new(&frame);
        for (host, documents) in &files.hosts {
            proof.add(host, documents, &files.vservers);
        }
        let vouched = proof.vouch().hosts.into_iter();
        assert_eq!(
            vouched.map(|it| it.directory).collect::<Vec<_>>(),
            ["alpha"]
        );
    }

    #[test]
    fn only_clean_hosts_that_share_nothing_are_vouched_for() {
        let files = files(&[
            ("alpha", "serial = \"A\""),
            ("beta", "serial = \"one\""),
            ("gamma", "serial = \"one\""),
            ("delta", "serial = \"D\"\nunknown = 1"),
        ]);
        let frame = Frame::read(&files.shared);
        // Two proofs, joined: numbers of claims begin anew in each.
        let mut proofs = [Proof::new(&frame), Proof::new(&frame)];
        for (index, (host, documents)) in files.hosts.iter().enumerate() {
            proofs[index % 2].add(host, documents, &files.vservers);
        }
        let [mut whole, other] = proofs;
        whole.join(other);
        let vouched = whole.vouch();
        let hosts: Vec<(&str, usize)> = vouched
            .hosts
            .iter()
            .map(|host| (host.directory.as_str(), host.domus))
            .collect();
        assert_eq!(hosts, [("alpha", 1)]);
        assert_eq!(vouched.claims.len(), 3);
        assert!(vouched.claims.contains(&(ClaimId::of_domu("of-alpha"), 0)));
    }
}
