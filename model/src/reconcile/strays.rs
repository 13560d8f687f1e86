// SPDX-License-Identifier: GPL-3.0-or-later
//! Domains that nobody declared: they are reported, and destroyed where their host says so and it is
//! beyond doubt that they are nobody's.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::etc::domu_uuid;
use crate::fleet::{DomU, Strays};
use crate::names::Name;

/// What Xen calls dom0.
const DOM0: &str = "Domain-0";

/// A domain that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// Its UUID, if that can be told.
    pub uuid: Option<Uuid>,
    /// Whether it is known to have been started here from a commit.
    pub was_started: bool,
}

/// A domain that nobody declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a domain that nobody declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is left alone: nobody said otherwise.
    Left,
    /// It would be destroyed, and is left alone all the same; why.
    Spared(String),
    /// It is destroyed.
    Destroyed,
}

/// Which of these domains are strays of a host of `fleet` that declares `domus`, and what becomes of
/// them. `unsettled` says why it is not certain now what is declared, if it is not.
pub fn strays(
    fleet: &Name,
    domus: &BTreeMap<Name, DomU>,
    policy: Strays,
    unsettled: Option<&str>,
    seen: Vec<Seen>,
) -> Vec<Stray> {
    let is_stray =
        |seen: &Seen| seen.id != 0 && seen.name != DOM0 && !domus.contains_key(seen.name.as_str());
    let mut strays: Vec<Stray> = seen
        .into_iter()
        .filter(is_stray)
        .map(|seen| Stray {
            fate: match policy {
                Strays::Report => Fate::Left,
                Strays::Destroy => match spared(fleet, domus, unsettled, &seen) {
                    Some(why) => Fate::Spared(why),
                    None => Fate::Destroyed,
                },
            },
            name: seen.name,
            id: seen.id,
        })
        .collect();
    strays.sort_by(|a, b| a.name.cmp(&b.name));
    strays
}

/// Why a stray is not destroyed, if there is a reason.
fn spared(
    fleet: &Name,
    domus: &BTreeMap<Name, DomU>,
    unsettled: Option<&str>,
    seen: &Seen,
) -> Option<String> {
    let Some(uuid) = seen.uuid else {
        return Some("nobody can tell its UUID".to_owned());
    };
    if let Some(domu) = domus.values().find(|domu| domu_uuid(fleet, domu) == uuid) {
        return Some(format!("it has the UUID of {}", domu.name));
    }
    if seen.was_started {
        let reason = "it was started from an earlier commit, and `domus-dom0 apply` shuts it down";
        return Some(reason.to_owned());
    }
    unsettled.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn domus() -> BTreeMap<Name, DomU> {
        let domu = |text| DomU::new(name(text), "base@1".parse().expect("an image"));
        ["db", "web"].map(|text| (name(text), domu(text))).into()
    }

    fn seen(name: &str, id: u32) -> Seen {
        Seen {
            name: name.to_owned(),
            id,
            uuid: Some(Uuid::from_u128(u128::from(id))),
            was_started: false,
        }
    }

    fn fates(policy: Strays, unsettled: Option<&str>, all: Vec<Seen>) -> Vec<(String, Fate)> {
        let strays = strays(&name("example"), &domus(), policy, unsettled, all);
        strays
            .into_iter()
            .map(|stray| (stray.name, stray.fate))
            .collect()
    }

    #[test]
    fn what_nobody_declared_is_destroyed_only_where_the_host_says_so() {
        let all = || vec![seen("old", 9), seen("web", 3), seen(DOM0, 0), seen(DOM0, 7)];
        let expected = |fate| [("old".to_owned(), fate)];
        assert_eq!(fates(Strays::Report, None, all()), expected(Fate::Left));
        assert_eq!(fates(Strays::default(), None, all()), expected(Fate::Left));
        assert_eq!(
            fates(Strays::Destroy, None, all()),
            expected(Fate::Destroyed)
        );
    }

    #[test]
    fn whoever_may_be_somebodys_is_spared_and_the_reason_says_why() {
        let domus = domus();
        let own = domu_uuid(&name("example"), &domus[&name("web")]);
        let renamed = Seen {
            uuid: Some(own),
            ..seen("incoming", 4)
        };
        let unknown = Seen {
            uuid: None,
            ..seen("incoming", 4)
        };
        let earlier = Seen {
            was_started: true,
            ..seen("incoming", 4)
        };
        for (stray, unsettled, part) in [
            (renamed, None, "it has the UUID of web"),
            (unknown, None, "UUID"),
            (earlier, None, "`domus-dom0 apply` shuts it down"),
            (
                seen("incoming", 4),
                Some("a commit waits"),
                "a commit waits",
            ),
        ] {
            let fates = fates(Strays::Destroy, unsettled, vec![stray]);
            let [(_, Fate::Spared(why))] = &fates[..] else {
                panic!("{fates:?}")
            };
            assert!(why.contains(part), "{why}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_destroyed_of_whom_there_is_a_doubt(
            all in prop::collection::vec(
                (
                    prop::sample::select(vec!["db", "web", "old", "Domain-0", "web-2"]),
                    0u32..4,
                    prop::option::of(0usize..3),
                    any::<bool>(),
                ),
                0..8,
            ),
            unsettled in any::<bool>(),
            destroy in any::<bool>(),
        ) {
            let fleet = name("example");
            let own: Vec<Uuid> = domus().values().map(|domu| domu_uuid(&fleet, domu)).collect();
            let uuids = [own[0], own[1], Uuid::from_u128(7)];
            let seen = |(name, id, uuid, was_started): (&str, u32, Option<usize>, bool)| Seen {
                name: name.to_owned(),
                id,
                uuid: uuid.map(|uuid| uuids[uuid]),
                was_started,
            };
            let all: Vec<Seen> = all.into_iter().map(seen).collect();
            let policy = if destroy { Strays::Destroy } else { Strays::Report };
            let found = strays(&fleet, &domus(), policy, unsettled.then_some("why"), all.clone());
            for stray in found.iter().filter(|stray| stray.fate == Fate::Destroyed) {
                prop_assert!(destroy && !unsettled);
                prop_assert!(stray.id != 0 && stray.name != DOM0);
                prop_assert!(!domus().contains_key(stray.name.as_str()));
                let same = |seen: &&Seen| (&seen.name, seen.id) == (&stray.name, stray.id);
                let is_nobodys = |seen: &Seen| seen.uuid == Some(uuids[2]) && !seen.was_started;
                prop_assert!(all.iter().filter(same).any(is_nobodys));
            }
        }
    }
}
