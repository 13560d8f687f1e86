// SPDX-License-Identifier: GPL-3.0-or-later
//! How a mirror is now, told by the disks that host.toml names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An array as the kernel shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Array {
    /// How many of its halves are not in it, or not yet.
    pub missing: u32,
    /// The partitions that it knows.
    pub members: Vec<Member>,
    /// What it does, while it does something.
    pub doing: Option<Doing>,
}

/// A part of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The disk that it is on: `sda`.
    pub disk: String,
    /// Whether it is used.
    pub state: HalfState,
}

/// What an array does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    /// In the kernel's words: `recover`, `resync`, `check`, `repair`.
    pub what: String,
    /// How much of it is done; not known before it has begun.
    pub percent: Option<u64>,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent {
            Some(percent) => write!(f, "{} {percent}%", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// How one half of a mirror is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HalfState {
    /// It has all that the mirror has.
    InSync,
    /// It is there, and does not have all of it yet.
    Behind,
    /// It takes the place of one that fails; until then it has nothing of the mirror.
    Spare,
    /// The kernel had errors from it and does not use it any more.
    Failed,
    /// Its disk is there, and the mirror does not use it.
    LeftOut,
    /// Its disk is not there.
    Absent,
}

/// One half of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    /// The disk as host.toml names it; one that it does not name by its device.
    pub disk: String,
    /// How it is.
    pub state: HalfState,
}

impl Half {
    /// What there is to say of it, if it is not as the other is.
    fn remark(&self) -> Option<String> {
        let says = match self.state {
            HalfState::InSync => return None,
            HalfState::Behind => "is behind",
            HalfState::Spare => "is a spare",
            HalfState::Failed => "has FAILED",
            HalfState::LeftOut => "is not in it",
            HalfState::Absent => "is not there",
        };
        Some(format!("{} {says}", self.disk))
    }
}

/// How a mirror is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Whether both halves have all of it.
    pub whole: bool,
    /// Its halves: those of host.toml in order, then what else is in it.
    pub halves: Vec<Half>,
    /// What it does, while it does something.
    pub doing: Option<Doing>,
}

impl Mirror {
    /// `named`: the disks of host.toml, each with its device if it is there (`sda`).
    pub fn new(array: &Array, named: &[(String, Option<String>)]) -> Self {
        let state = |device: &Option<String>| {
            let Some(device) = device else {
                return HalfState::Absent;
            };
            let mut members = array.members.iter();
            let member = members.find(|member| member.disk == *device);
            member.map_or(HalfState::LeftOut, |member| member.state)
        };
        let mut halves: Vec<Half> = named
            .iter()
            .map(|(name, device)| Half {
                disk: name.clone(),
                state: state(device),
            })
            .collect();
        let is_named = |member: &&Member| {
            let mut named = named.iter();
            named.any(|(_, device)| device.as_ref() == Some(&member.disk))
        };
        let is_absent = halves.iter().any(|half| half.state == HalfState::Absent);
        for member in array.members.iter().filter(|it| !is_named(it)) {
            // What failed and is gone is the one that is not there.
            if member.state == HalfState::Failed && is_absent {
                continue;
            }
            halves.push(Half {
                disk: member.disk.clone(),
                state: member.state,
            });
        }
        Self {
            whole: array.missing == 0,
            halves,
            doing: array.doing.clone(),
        }
    }

    /// Whether it is getting whole by itself.
    pub fn is_recovering(&self) -> bool {
        !self.whole && self.doing.is_some()
    }

    /// Whether one of its halves is in this state.
    pub fn has(&self, state: HalfState) -> bool {
        self.halves.iter().any(|half| half.state == state)
    }

    /// A few words.
    pub fn words(&self) -> String {
        let mut words = vec![match self.whole {
            true => "mirror whole".to_owned(),
            false => "mirror degraded".to_owned(),
        }];
        words.extend(self.halves.iter().filter_map(Half::remark));
        words.extend(self.doing.as_ref().map(ToString::to_string));
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HalfState::{Absent, Behind, Failed, InSync, LeftOut, Spare};

    /// How many are missing, the members of the array, what it does, the devices of the disks `one`
    /// and `two` of host.toml; then the halves and the words that come of it.
    type Case = (
        u32,
        &'static [(&'static str, HalfState)],
        Option<(&'static str, Option<u64>)>,
        [Option<&'static str>; 2],
        &'static [(&'static str, HalfState)],
        &'static str,
    );

    const RECOVER: Option<(&str, Option<u64>)> = Some(("recover", Some(37)));

    fn assert_told(cases: &[Case]) {
        for (missing, members, doing, devices, halves, words) in cases.iter().copied() {
            let members = members.iter().map(|(disk, state)| Member {
                disk: (*disk).into(),
                state: *state,
            });
            let array = Array {
                missing,
                members: members.collect(),
                doing: doing.map(|(what, percent)| Doing {
                    what: what.into(),
                    percent,
                }),
            };
            let named = ["one", "two"].into_iter().zip(devices);
            let named = named.map(|(name, device)| (name.to_owned(), device.map(str::to_owned)));
            let mirror = Mirror::new(&array, &named.collect::<Vec<_>>());
            let found = mirror.halves.iter().map(|it| (it.disk.as_str(), it.state));
            assert_eq!(found.collect::<Vec<_>>(), halves, "{words}");
            assert_eq!(mirror.words(), words);
            assert_eq!(mirror.is_recovering(), missing > 0 && doing.is_some());
        }
    }

    #[test]
    fn halves_are_told_by_their_names() {
        assert_told(&[
            (
                0,
                &[("sda", InSync), ("sdb", InSync)],
                None,
                [Some("sda"), Some("sdb")],
                &[("one", InSync), ("two", InSync)],
                "mirror whole",
            ),
            (
                0,
                &[("sda", InSync), ("sdb", InSync)],
                Some(("check", Some(3))),
                [Some("sda"), Some("sdb")],
                &[("one", InSync), ("two", InSync)],
                "mirror whole, check 3%",
            ),
            (
                1,
                &[("sda", InSync), ("sdb", Failed)],
                None,
                [Some("sda"), Some("sdb")],
                &[("one", InSync), ("two", Failed)],
                "mirror degraded, two has FAILED",
            ),
            (
                1,
                &[("sda", InSync)],
                None,
                [Some("sda"), None],
                &[("one", InSync), ("two", Absent)],
                "mirror degraded, two is not there",
            ),
            // Pulled out while it ran: the kernel still knows its partition.
            (
                1,
                &[("sda", InSync), ("sdb1", Failed)],
                None,
                [Some("sda"), None],
                &[("one", InSync), ("two", Absent)],
                "mirror degraded, two is not there",
            ),
            (
                1,
                &[("sda", InSync)],
                None,
                [Some("sda"), Some("sdb")],
                &[("one", InSync), ("two", LeftOut)],
                "mirror degraded, two is not in it",
            ),
            (
                1,
                &[("sda", InSync), ("sdb", Behind)],
                RECOVER,
                [Some("sda"), Some("sdb")],
                &[("one", InSync), ("two", Behind)],
                "mirror degraded, two is behind, recover 37%",
            ),
            // Exchanged by hand for one that host.toml does not name.
            (
                1,
                &[("sda", InSync), ("sdc", Behind)],
                Some(("recover", None)),
                [Some("sda"), None],
                &[("one", InSync), ("two", Absent), ("sdc", Behind)],
                "mirror degraded, two is not there, sdc is behind, recover",
            ),
        ]);
    }

    #[test]
    fn what_was_added_by_hand_is_a_spare() {
        assert_told(&[
            // To what is whole already, and to what gets whole.
            (
                0,
                &[("sda", InSync), ("sdb", InSync), ("sdc", Spare)],
                None,
                [Some("sda"), Some("sdb")],
                &[("one", InSync), ("two", InSync), ("sdc", Spare)],
                "mirror whole, sdc is a spare",
            ),
            (
                1,
                &[("sda", InSync), ("sdb", Behind), ("sdc", Spare)],
                RECOVER,
                [Some("sda"), Some("sdb")],
                &[("one", InSync), ("two", Behind), ("sdc", Spare)],
                "mirror degraded, two is behind, sdc is a spare, recover 37%",
            ),
        ]);
    }
}
