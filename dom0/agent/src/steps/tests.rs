// SPDX-License-Identifier: GPL-3.0-or-later
//! What has to be done, from what is declared, runs and was stopped by hand.

use std::collections::BTreeMap;

use domus_model::files::Files;
use domus_model::load::load;
use domus_model::units::Size;

use super::*;

/// The template's host with a third domU `log`, which starts after `db`.
fn host() -> Host {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config-repo-template");
    let mut files: Files = domus_system::documents::read(&root).expect("template");
    let log = "version = 1\nimage = \"base@1\"\nmemory = \"96MiB\"\nafter = [\"db\"]\n";
    files.insert("pservers/alpha/domUs/log.toml", log.into());
    let mut fleet = load(&files).expect("a fleet without problems");
    fleet.hosts.remove("alpha").expect("alpha")
}

fn names(list: &[&str]) -> Vec<Name> {
    list.iter()
        .map(|name| name.parse().expect("name"))
        .collect()
}

fn domains(running: &[&str], unknown: &[&str]) -> Domains {
    let map = |list: &[&str]| -> BTreeMap<String, u32> {
        (1..)
            .zip(list)
            .map(|(id, name)| ((*name).to_owned(), id))
            .collect()
    };
    Domains {
        running: map(running),
        unknown: map(unknown),
    }
}

fn steps(running: &[&str], unknown: &[&str], held: &[&str], asked: &[&str]) -> Steps {
    let held = names(held).into_iter().collect();
    let mut steps = Steps::default();
    let domains = domains(running, unknown);
    steps.domus(&host(), &domains, &held, &names(asked));
    steps
}

#[test]
fn one_that_was_stopped_by_hand_is_left_so() {
    let found = steps(&[], &[], &["db"], &[]);
    assert_eq!(found.plan.start, [names(&["log", "web"])]);
    assert_eq!(found.left, names(&["db"]));
    let still_running = steps(&["db"], &[], &["db"], &[]);
    assert_eq!(still_running.plan.keep, names(&["db"]));
    assert_eq!(still_running.left.len(), 0);
}

#[test]
fn only_those_asked_for_are_started() {
    let found = steps(&["web"], &[], &["db"], &["log"]);
    assert_eq!(found.plan.start, [names(&["log"])]);
    assert_eq!((found.plan.keep.len(), found.left.len()), (0, 0));
}

#[test]
fn a_domain_that_only_xenstore_knows_is_no_domu_that_runs() {
    let found = steps(&["db", "old"], &["web", "foreign"], &[], &[]);
    assert_eq!(found.plan.start, [names(&["log", "web"])]);
    assert_eq!(found.plan.keep, names(&["db"]));
}

#[test]
fn steps_of_a_host_that_runs_as_it_should_are_empty() {
    let all = ["db", "log", "web"];
    assert!(steps(&all, &[], &[], &[]).is_empty());
    let memory = |now| Dom0Memory {
        now: Size::from_mib(now),
        ceiling: Size::from_mib(512),
    };
    assert_eq!(ballooning(&host(), memory(384)), None);
    let change = ballooning(&host(), memory(512));
    assert_eq!(
        change,
        Some(Ballooning {
            from_mib: 512,
            to_mib: 384
        })
    );
    assert!(
        !Steps {
            dom0_memory: change,
            ..steps(&all, &[], &[], &[])
        }
        .is_empty()
    );
}
