// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of the devices that carry a release a machine was started from. A release may be in a slot
//! and on a CD at once; only the slot that was booted is on trial, and is what an upgrade leaves.

use std::path::PathBuf;

use crate::slots::{Booted, Choice, Slot};

/// Who chose the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// GRUB, which says that it took it from this slot.
    Slot(Booted),
    /// A loader that was started from the partition with this id. It may be GRUB, which took the
    /// release from a slot of the same disk.
    Loader(String),
    /// Nobody: there was one.
    Alone,
}

/// A device that carries the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Its node.
    pub device: PathBuf,
    /// What it is of a medium with slots; none if it is a disc, or a stick with a release alone.
    pub place: Option<Place>,
}

/// A slot as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub slot: Slot,
    /// The id of the partition beside it from which firmware starts GRUB; none if it cannot be read.
    pub loader: Option<String>,
    /// Which slot boots; none if the block cannot be read, which is said once it is needed.
    pub choice: Option<Choice>,
}

/// What a machine was started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The device.
    pub device: PathBuf,
    /// What GRUB did, if it took the release from a slot.
    pub booted: Option<Booted>,
}

impl Started {
    /// What it was started from, of the devices with the release; none if that is not here yet.
    /// `partitions`: the ids of all partitions that are here.
    pub fn choose(&self, carriers: &[Carrier], partitions: &[String]) -> Option<Origin> {
        let with = |carrier: &Carrier, booted| Origin {
            device: carrier.device.clone(),
            booted,
        };
        match self {
            Self::Alone => Some(with(carriers.first()?, None)),
            Self::Slot(booted) => {
                let is_it = |carrier: &&Carrier| {
                    carrier.place.as_ref().map(|place| place.slot) == Some(booted.slot)
                };
                Some(with(carriers.iter().find(is_it)?, Some(*booted)))
            }
            Self::Loader(loader) => {
                let of_loader = |carrier: &Carrier| {
                    let place = carrier.place.as_ref()?;
                    let is_it = place.loader.as_ref() == Some(loader);
                    is_it.then(|| with(carrier, Some(place.booted())))
                };
                carriers.iter().find_map(of_loader).or_else(|| {
                    // The loader's disk is here, and the release is elsewhere: another loader.
                    let is_here = partitions.contains(loader);
                    Some(with(carriers.first().filter(|_| is_here)?, None))
                })
            }
        }
    }
}

impl Place {
    /// What GRUB did if it took the release here, as it wrote that down.
    fn booted(&self) -> Booted {
        let choice = self.choice.unwrap_or(Choice::only(self.slot));
        choice.booted(self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CD.
    fn disc(device: &str) -> Carrier {
        Carrier {
            device: device.into(),
            place: None,
        }
    }

    /// A slot of the medium that firmware starts by the partition `loader`.
    fn slot(device: &str, slot: Slot, loader: &str) -> Carrier {
        Carrier {
            place: Some(Place {
                slot,
                loader: Some(loader.into()),
                choice: Some(Choice::only(slot)),
            }),
            ..disc(device)
        }
    }

    /// The device and what GRUB did, as a word: `sda3 a`, `sda4 b on trial 2`.
    fn chosen(started: &Started, carriers: &[Carrier], partitions: &[&str]) -> Option<String> {
        let partitions: Vec<String> = partitions.iter().map(|id| (*id).to_owned()).collect();
        let origin = started.choose(carriers, &partitions)?;
        let slot = origin.booted.map(|booted| match booted.attempt {
            Some(attempt) => format!(" {} on trial {attempt}", booted.slot),
            None => format!(" {}", booted.slot),
        });
        let device = origin.device.display();
        Some(format!("{device}{}", slot.unwrap_or_default()))
    }

    fn loader(id: &str) -> Started {
        Started::Loader(id.into())
    }

    #[test]
    fn the_slot_that_grub_names_is_waited_for() {
        let started = |attempt| {
            Started::Slot(Booted {
                slot: Slot::B,
                attempt,
            })
        };
        let (cd, a, b) = (
            disc("sr0"),
            slot("sda3", Slot::A, "one"),
            slot("sda4", Slot::B, "one"),
        );
        let all = [cd.clone(), a.clone(), b];
        assert_eq!(chosen(&started(None), &all, &[]), Some("sda4 b".into()));
        // What GRUB says counts, and not what its block says.
        let expected = Some("sda4 b on trial 2".into());
        assert_eq!(chosen(&started(Some(2)), &all, &[]), expected);
        assert_eq!(chosen(&started(None), &[cd, a], &["one"]), None);
        assert_eq!(chosen(&started(None), &[], &[]), None);
    }

    #[test]
    fn a_loader_took_the_release_from_a_slot_of_its_own_disk() {
        let own = slot("sdb4", Slot::B, "two");
        // The same release on a CD and on another stick comes first, and is not what was started.
        let all = [disc("sr0"), slot("sda3", Slot::A, "one"), own.clone()];
        let found = chosen(&loader("two"), &all, &["one", "two"]);
        assert_eq!(found, Some("sdb4 b".into()));
        let on = |choice| {
            let mut own = own.clone();
            own.place.as_mut().expect("a slot").choice = choice;
            chosen(&loader("two"), &[own], &["two"])
        };
        let tried = |tries| {
            Some(Choice {
                good: Slot::A,
                trial: Some((Slot::B, tries)),
            })
        };
        assert_eq!(on(tried(3)), Some("sdb4 b on trial 3".into()));
        // What was not counted was not tried, and a block that cannot be read says nothing of it.
        assert_eq!(on(tried(0)), Some("sdb4 b".into()));
        assert_eq!(on(None), Some("sdb4 b".into()));
    }

    #[test]
    fn another_loader_took_it_from_elsewhere() {
        // The loader is on a partition that is here, and the release is not beside it.
        let all = [disc("sr0"), slot("sda3", Slot::A, "one")];
        let found = chosen(&loader("other"), &all, &["one", "other"]);
        assert_eq!(found, Some("sr0".into()));
        // A disk of which the table cannot be read is nobody's own.
        let mut mute = slot("sda3", Slot::A, "one");
        mute.place.as_mut().expect("a slot").loader = None;
        let found = chosen(&loader("other"), &[mute], &["other"]);
        assert_eq!(found, Some("sda3".into()));
        assert_eq!(chosen(&loader("other"), &[], &["other"]), None);
    }

    #[test]
    fn a_loader_that_is_not_there_yet_is_waited_for() {
        let other = [disc("sr0"), slot("sda3", Slot::A, "one")];
        assert_eq!(chosen(&loader("two"), &other, &["one"]), None);
        assert_eq!(chosen(&loader("two"), &other, &[]), None);
    }

    #[test]
    fn where_nobody_chose_any_will_do() {
        let all = [disc("sr0"), slot("sda3", Slot::A, "one")];
        assert_eq!(chosen(&Started::Alone, &all, &[]), Some("sr0".into()));
        // A slot that nobody named was not chosen by GRUB: it is a disk like any other.
        assert_eq!(chosen(&Started::Alone, &all[1..], &[]), Some("sda3".into()));
        assert_eq!(chosen(&Started::Alone, &[], &["one"]), None);
    }
}
