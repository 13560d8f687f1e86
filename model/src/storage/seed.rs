// SPDX-License-Identifier: GPL-3.0-or-later
//! The partition for `/config` on a host's first disk: whether it is filled from the seed that the
//! host booted from. Only one that nobody ever used is, and only where the next boot then finds one
//! config partition and no more.
//!
//! A filling is noted behind the disk's claim before it begins, and when all but the marker is on
//! the disk. The marker is written last: without it a boot takes none, and until then nobody has
//! kept anything there. So one that a power cut ended is made anew.

use super::claim::{CLAIM_AT, CLAIM_SIZE, Claim, sum};
use super::{ENDS, Found};
use crate::boot::{BY_HAND, ConfigKind, ConfigSource};
use std::fmt::Write;

/// Where the note stands, in bytes: behind the claim.
pub const FILLING_AT: u64 = CLAIM_AT + CLAIM_SIZE as u64;
/// How much is written there, in bytes: a whole sector of any disk, zeros behind the text.
pub const FILLING_SIZE: usize = 4096;
/// What the file system is called until all but the marker is there.
pub const UNFINISHED: &str = "domus-filling";
/// What the note begins with.
const MAGIC: &str = "domus config 1";

/// How far a filling is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Nothing there is of any worth.
    Begun,
    /// All is there but, perhaps, the marker.
    Done,
}

impl Filling {
    /// What is written to the disk of this claim: [`FILLING_SIZE`] bytes.
    pub fn render(self, claim: &Claim) -> Vec<u8> {
        let mut bytes = self.text(claim).into_bytes();
        bytes.resize(FILLING_SIZE, 0);
        bytes
    }

    fn text(self, claim: &Claim) -> String {
        let state = match self {
            Self::Begun => "begun",
            Self::Done => "done",
        };
        let mut text = format!("{MAGIC}\npartition {}\nstate {state}\n", claim.config());
        let _ = writeln!(text, "sum {}", sum(&text));
        text
    }

    /// What was read at [`FILLING_AT`] of the disk of this claim; `None` if that is no note of its.
    pub fn parse(bytes: &[u8], claim: &Claim) -> Option<Self> {
        let text = bytes.split(|byte| *byte == 0).next()?;
        let mut all = [Self::Begun, Self::Done].into_iter();
        all.find(|filling| filling.text(claim).as_bytes() == text)
    }
}

/// The partition for `/config`, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its device.
    pub device: String,
    /// What is noted of its filling.
    pub filling: Option<Filling>,
    /// Whether [`ENDS`] at both ends are zero.
    pub zero: bool,
    /// What `blkid` knows of it.
    pub found: Vec<Found>,
    /// Whether the file system there has a marker, if it has one that can be looked into.
    pub marker: Option<bool>,
}

const _: () = assert!(FILLING_AT + (FILLING_SIZE as u64) < ENDS / 2);

/// What is on the partition for `/config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or what a filling left that was cut off.
    Unused,
    /// What was filled, or is a config partition otherwise.
    Config,
    /// Something else: what.
    Other(String),
}

impl Place {
    /// What is on it. `claim`: that of its disk.
    pub fn standing(&self, claim: &Claim) -> Standing {
        let own = claim.config_file_system().to_string();
        let is_own = |found: &Found| found.what == "ext4" && found.id.as_ref() == Some(&own);
        match (self.filling, &self.found[..], self.marker) {
            (_, [], _) if self.zero => Standing::Unused,
            (Some(Filling::Begun), ..) => Standing::Unused,
            (_, _, Some(true)) => Standing::Config,
            (Some(Filling::Done), [found], Some(false)) if is_own(found) => Standing::Unused,
            (_, [], _) => Standing::Other("something that is not known".to_owned()),
            (_, found, _) => {
                let each = found.iter().map(|found| match &found.id {
                    Some(id) => format!("{} {id}", found.what),
                    None => found.what.clone(),
                });
                Standing::Other(each.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The partition for `/config` of a disk that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The disk, as in the document.
    pub disk: String,
    /// Its device and what is on it; nothing if the disk was prepared without.
    pub place: Option<(String, Standing)>,
}

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It is `/config`.
    Hold,
    /// It is filled from the seed.
    Fill,
    /// Nothing, and that is as it should be: why.
    Leave(String),
    /// Nothing, although `/config` is a seed, so that nothing is kept: why.
    Refuse(String),
}

/// What follows for the first of a host's disks. `config`: where `/config` is from. `elsewhere`:
/// config partitions of this host that are there as well.
pub fn decide(config: &ConfigSource, part: &Part, elsewhere: &[String]) -> Deed {
    let (disk, source) = (&part.disk, &config.device);
    let Some((device, standing)) = &part.place else {
        let why = format!("{disk} was prepared without a partition for /config");
        return match config.kind {
            ConfigKind::Seed => Deed::Refuse(format!(
                "{why}, so {source} is a seed at each boot; `erase` names all of it if it may be \
                 prepared anew"
            )),
            _ => Deed::Leave(why),
        };
    };
    if config.kind != ConfigKind::Seed {
        return match standing {
            _ if device == source => Deed::Hold,
            Standing::Unused => Deed::Leave(format!(
                "/config is {source}, so {device} for it is left empty: two would be one too many"
            )),
            _ => Deed::Leave(format!("/config is {source}, and not {device} of {disk}")),
        };
    }
    let refuse = |why: String| Deed::Refuse(format!("{device} is not set up from {source}: {why}"));
    if config.bound_by == BY_HAND {
        return refuse("the seed was taken by hand, for this boot only".to_owned());
    }
    match standing {
        Standing::Unused => match elsewhere.first() {
            Some(other) => refuse(format!(
                "{other} is a config partition of this host as well"
            )),
            None => Deed::Fill,
        },
        Standing::Config => refuse(format!(
            "it is a config partition, which the boot did not take; if nobody needs what is on it, \
             {}",
            wipe(device)
        )),
        Standing::Other(what) => refuse(format!(
            "it holds {what}, which is left as it is; if nobody needs that, {}",
            wipe(device)
        )),
    }
}

fn wipe(device: &str) -> String {
    format!("`blkdiscard --force --zeroout {device}`, then `domus-dom0 storage`")
}

/// The mode of a file or directory of a seed where it is copied to: as `domus config disk` makes
/// it, whatever the seed's file system knows of modes. The host's private keys are root's alone.
pub fn mode(path: &str, is_directory: bool) -> u32 {
    let is_key = path.starts_with("state/ssh/") && !path.ends_with(".pub");
    match (is_directory, is_key) {
        (true, _) => 0o755,
        (false, true) => 0o600,
        (false, false) => 0o644,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ClaimState;
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn claim() -> Claim {
        Claim {
            set: Uuid::from_u128(1),
            fleet: "example".parse().expect("a name"),
            host: "alpha".parse().expect("a name"),
            disk: "ata-A".into(),
            birth: Uuid::from_u128(2),
            mirror: false,
            state: ClaimState::Ready,
        }
    }

    fn place(filling: Option<Filling>, found: &[(&str, &str)], marker: Option<bool>) -> Place {
        let found = found.iter().map(|(what, id)| Found {
            device: "/dev/sda1".into(),
            inside: true,
            what: (*what).to_owned(),
            id: Some((*id).to_owned()),
        });
        Place {
            device: "/dev/sda1".into(),
            filling,
            zero: false,
            found: found.collect(),
            marker,
        }
    }

    #[test]
    fn only_what_nobody_used_is_unused() {
        let own = claim().config_file_system().to_string();
        let (own, other) = (("ext4", own.as_str()), ("ext4", "aa-1"));
        let standing =
            |filling, found: &[_], marker| place(filling, found, marker).standing(&claim());
        let blank = Place {
            zero: true,
            ..place(None, &[], None)
        };
        assert_eq!(blank.standing(&claim()), Standing::Unused);
        // A note of what was wiped since says nothing.
        let wiped = Place {
            filling: Some(Filling::Done),
            ..blank
        };
        assert_eq!(wiped.standing(&claim()), Standing::Unused);
        // Cut off at any time until the marker is there.
        for found in [&[][..], &[own], &[other]] {
            let cut = standing(Some(Filling::Begun), found, None);
            assert_eq!(cut, Standing::Unused);
        }
        let before_marker = standing(Some(Filling::Done), &[own], Some(false));
        assert_eq!(before_marker, Standing::Unused);
        assert_eq!(
            standing(Some(Filling::Done), &[own], Some(true)),
            Standing::Config
        );
        assert_eq!(standing(None, &[other], Some(true)), Standing::Config);
        for (filling, found, marker, what) in [
            (None, &[][..], None, "something that is not known"),
            (
                Some(Filling::Done),
                &[],
                None,
                "something that is not known",
            ),
            (None, &[own], Some(false), "ext4 "),
            (Some(Filling::Done), &[own], None, "ext4 "),
            (Some(Filling::Done), &[other], Some(false), "ext4 aa-1"),
        ] {
            let Standing::Other(said) = standing(filling, found, marker) else {
                panic!("{filling:?} {found:?} {marker:?}");
            };
            assert!(said.starts_with(what), "{said}");
        }
    }

    #[test]
    fn a_partition_is_filled_only_from_a_seed_and_where_it_is_the_only_one() {
        let source = |kind, device: &str, by: &str| ConfigSource {
            device: device.into(),
            kind,
            bound_by: by.into(),
            seed: None,
        };
        let part = |standing: Option<Standing>| Part {
            disk: "ata-A".into(),
            place: standing.map(|standing| ("/dev/sda1".into(), standing)),
        };
        let other = Standing::Other("swap".into());
        let seed = source(ConfigKind::Seed, "/dev/sr0", "serial");
        let said =
            |config: &ConfigSource, standing: Option<Standing>, elsewhere: &[String]| match decide(
                config,
                &part(standing),
                elsewhere,
            ) {
                Deed::Hold => "hold".to_owned(),
                Deed::Fill => "fill".to_owned(),
                Deed::Leave(why) => format!("leave: {why}"),
                Deed::Refuse(why) => format!("refuse: {why}"),
            };
        assert_eq!(said(&seed, Some(Standing::Unused), &[]), "fill");
        let second = ["/dev/sdb1".to_owned()];
        let by_hand = source(ConfigKind::Seed, "/dev/sr0", BY_HAND);
        for (said, text) in [
            (
                said(&seed, Some(Standing::Unused), &second),
                "/dev/sdb1 is a config partition",
            ),
            (
                said(&seed, Some(Standing::Config), &[]),
                "which the boot did not take",
            ),
            (said(&seed, Some(other.clone()), &[]), "it holds swap"),
            (said(&seed, None, &[]), "ata-A was prepared without"),
            (said(&by_hand, Some(Standing::Unused), &[]), "by hand"),
        ] {
            assert!(
                said.starts_with("refuse: ") && said.contains(text) && !said.contains('\n'),
                "{said}"
            );
        }
        let own = source(ConfigKind::Partition, "/dev/sda1", "serial");
        assert_eq!(said(&own, Some(Standing::Config), &[]), "hold");
        let stick = source(ConfigKind::Partition, "/dev/sdb5", "serial");
        for standing in [
            Some(Standing::Unused),
            Some(Standing::Config),
            Some(other),
            None,
        ] {
            let said = said(&stick, standing, &[]);
            assert!(said.starts_with("leave: "), "{said}");
        }
    }

    #[test]
    fn modes_are_those_of_a_config_disk() {
        let key = "state/ssh/ssh_host_ed25519_key";
        assert_eq!(mode(key, false), 0o600);
        assert_eq!(mode(&format!("{key}.pub"), false), 0o644);
        assert_eq!(mode("repo.git/HEAD", false), 0o644);
        assert_eq!(mode("state/ssh", true), 0o755);
    }

    #[test]
    fn a_note_is_read_back_and_is_of_one_disk() {
        for filling in [Filling::Begun, Filling::Done] {
            let bytes = filling.render(&claim());
            assert_eq!(bytes.len(), FILLING_SIZE);
            assert!(bytes[512..].iter().all(|byte| *byte == 0), "one sector");
            assert_eq!(Filling::parse(&bytes, &claim()), Some(filling));
            let other = Claim {
                birth: Uuid::from_u128(3),
                ..claim()
            };
            assert_eq!(Filling::parse(&bytes, &other), None);
            let length = bytes.iter().position(|byte| *byte == 0).expect("an end");
            for at in 0..length {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                assert_eq!(Filling::parse(&bad, &claim()), None, "{at}");
            }
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Filling::parse(&bytes, &claim()), None);
        }
    }
}
