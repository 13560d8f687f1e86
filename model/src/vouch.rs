// SPDX-License-Identifier: GPL-3.0-or-later
//! What a proof leaves behind of hosts that have no problem: enough to prove others beside them
//! without reading them again.

pub use crate::check::Load;
use crate::check::claims::{self, Claims};
use std::collections::{BTreeSet, HashMap};

/// A digest of something that is unique in the fleet. One thing always has one digest. That two
/// things have the same is possible: whoever meets a digest twice reads both documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimDigest(pub u64);

impl ClaimDigest {
    /// That a domU has this name.
    pub fn of_domu(name: &str) -> Self {
        claims::domu(name)
    }

    pub(crate) fn new(kind: u8, key: u128) -> Self {
        let [high, low] = [(key >> 64) as u64, key as u64];
        Self(mix(mix(high ^ (u64::from(kind) << 56)) ^ low))
    }
}

/// The last step of MurmurHash3: every bit of the result depends on every bit.
fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// Hosts that have no problem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vouched {
    /// The hosts.
    pub hosts: Vec<VouchedHost>,
    /// What they claim, in order and each once; and which of `hosts` does.
    pub claims: Vec<(ClaimDigest, usize)>,
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
            let digests = all.digests(start..seen.claims);
            digests.map(move |digest| (digest, number))
        });
        let mut claims: Vec<(ClaimDigest, usize)> = claims.collect();
        claims.sort_unstable();
        let twice = claims
            .chunk_by(|a, b| a.0 == b.0)
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
        let claims = claims.filter_map(|(digest, number)| Some((digest, numbers[number]?)));
        vouched.claims = claims.collect();
        vouched
    }
}
