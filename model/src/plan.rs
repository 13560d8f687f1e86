// SPDX-License-Identifier: GPL-3.0-or-later
//! What has to be done on a host: domUs that should run against domains that do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::fleet::DomU;
use crate::names::Name;

/// Steps that bring a host to what its commit wants. Equal to its own repetition: a plan made
/// after one was applied is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// domUs to start: each wave after the one before it, the members of one at the same time.
    pub start: Vec<Vec<Name>>,
    /// domUs that run as they should.
    pub keep: Vec<Name>,
}

/// Plans for the domUs in `wanted`, given the names of the domains that run.
pub fn plan(wanted: &BTreeMap<Name, DomU>, running: &BTreeSet<String>) -> Plan {
    let runs = |name: &Name| running.contains(name.as_str());
    let keep = wanted.keys().filter(|name| runs(name)).cloned().collect();

    let mut start = Vec::new();
    let mut left: Vec<&DomU> = wanted.values().filter(|domu| !runs(&domu.name)).collect();
    while !left.is_empty() {
        let waits = |domu: &DomU| domu.after.iter().any(|a| left.iter().any(|l| l.name == *a));
        let (later, mut now): (Vec<&DomU>, Vec<&DomU>) = left.iter().partition(|d| waits(d));
        if now.is_empty() {
            // A cycle: `check` refuses it. Here everything is started rather than nothing.
            now.clone_from(&later);
            left.clear();
        } else {
            left = later;
        }
        start.push(now.iter().map(|domu| domu.name.clone()).collect());
    }
    Plan { start, keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domu(name: &str, after: &[&str]) -> (Name, DomU) {
        let name: Name = name.parse().expect("name");
        let after = after
            .iter()
            .map(|name| name.parse().expect("name"))
            .collect();
        let image = "base@1".parse().expect("image");
        let domu = DomU {
            after,
            ..DomU::new(name.clone(), image)
        };
        (name, domu)
    }

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn waves(plan: &Plan) -> Vec<Vec<&str>> {
        plan.start
            .iter()
            .map(|wave| wave.iter().map(Name::as_str).collect())
            .collect()
    }

    #[test]
    fn starts_what_is_missing_in_order_and_as_parallel_as_it_may() {
        let wanted = [domu("db", &[]), domu("log", &[]), domu("web", &["db"])].into();
        let first = plan(&wanted, &names(&[]));
        assert_eq!(waves(&first), [vec!["db", "log"], vec!["web"]]);
        let second = plan(&wanted, &names(&["db"]));
        assert_eq!(waves(&second), [vec!["log", "web"]]);
    }

    #[test]
    fn a_plan_after_a_plan_is_empty() {
        let wanted = [domu("db", &[]), domu("web", &["db"])].into();
        assert!(plan(&wanted, &names(&["db", "web"])).start.is_empty());
    }

    #[test]
    fn a_cycle_ends() {
        let wanted = [domu("a", &["b"]), domu("b", &["a"])].into();
        assert_eq!(waves(&plan(&wanted, &names(&[]))), [vec!["a", "b"]]);
    }
}
