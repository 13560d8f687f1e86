// SPDX-License-Identifier: GPL-3.0-or-later
//! What differs in the domUs of a host: settings, layers, and those that come, go or move.

use super::differences::differences;
use super::files::of_guest_file;
use super::impact::{Rule, of_domu};
use super::words::{setting, words};
use super::{Given, Impact, Observed, Side, Step, Subject, json, view};
use crate::fleet::{Disk, DomU, Fleet, Host};
use crate::lock::LOCK;
use crate::names::{ImageRef, Name};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn steps(from: Side<'_>, to: Side<'_>, observed: &Observed, steps: &mut Vec<Step>) {
    let none = BTreeMap::new();
    let domus =
        |host: Option<&'_ Host>| host.map(|host| host.domus.clone()).unwrap_or(none.clone());
    let (mut before, after) = (domus(from.host), domus(to.host));
    for (name, given) in &observed.given {
        // What it runs with counts, not what it was to run with.
        if let Some(domu) = before.get_mut(name) {
            given.clone().replace(domu);
        }
    }
    let names: BTreeSet<&Name> = before.keys().chain(after.keys()).collect();
    for name in names {
        let runs = observed
            .running
            .as_ref()
            .is_none_or(|running| running.contains(name));
        let first = steps.len();
        match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => {
                if from.fleet.name != to.fleet.name {
                    let what = "identity changed";
                    let reason = "its UUID follows from the fleet's name";
                    steps.push(recreated(after, what, reason));
                }
                let pools = [from, to].map(|side| side.host.map(|host| &host.storage.domus));
                if let (true, Some(volumes)) = (pools[0] != pools[1], keeps(before)) {
                    let what = "volumes are in another place";
                    let reason = format!("left there: {volumes}; copy first");
                    steps.push(recreated(after, what, &reason));
                }
                relocked(after, from.fleet, to.fleet, steps);
                changed(before, after, steps);
                if from.names != to.names {
                    steps.push(renamed(after));
                }
                let refreshes = observed.refreshing.as_ref();
                if after.foreign || !refreshes.is_none_or(|names| names.contains(name)) {
                    steps[first..].iter_mut().for_each(reads_when_it_starts);
                }
            }
            (None, Some(after)) => steps.push(arrived(after, from.elsewhere.get(name))),
            (Some(before), None) => steps.push(gone(before, to.elsewhere.get(name))),
            (None, None) => {}
        }
        let touches = [
            Impact::DomuRefresh,
            Impact::DomuRestart,
            Impact::DomuRecreate,
            Impact::DomuStop,
        ];
        for step in &mut steps[first..] {
            if !runs && touches.contains(&step.impact) {
                step.impact = Impact::Live;
                step.reason = Some("it does not run".to_owned());
                step.does.clear();
            }
        }
    }
}

impl Given {
    /// Puts what the hypervisor says in place of what `domu` was to have.
    fn replace(self, domu: &mut DomU) {
        let unsaid = domu.max_memory.is_none() && self.max_memory == self.memory;
        domu.max_memory = (!unsaid).then_some(self.max_memory);
        let unsaid = domu.max_vcpus.is_none() && self.max_vcpus == self.vcpus;
        domu.max_vcpus = (!unsaid).then_some(self.max_vcpus);
        (domu.memory, domu.vcpus, domu.pin) = (self.memory, self.vcpus, self.pin);
        if let Some((weight, cap)) = self.share {
            domu.weight = weight;
            domu.cap = (cap > 0).then_some(cap);
        }
    }
}

fn changed(from: &DomU, to: &DomU, steps: &mut Vec<Step>) {
    let subject = Subject::DomU(to.name.clone());
    for difference in differences(&json(from), &json(to)) {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        if path[0] == "layers" {
            continue;
        }
        let what = words(&difference, &setting(&path));
        let rule = of_domu(&path, Some((from, to)));
        steps.push(Step::new(subject.clone(), what, None, rule));
    }
    let layers = view::steps(&subject, &from.layers, &to.layers, of_guest_file);
    steps.extend(layers);
}

/// Names of machines are others than they were.
fn renamed(domu: &DomU) -> Step {
    let what = "/etc/hosts changed".to_owned();
    let source = Some("global/hosts".to_owned());
    let rule = Rule::new(Impact::DomuRefresh, "");
    Step::new(Subject::DomU(domu.name.clone()), what, source, rule)
}

/// What a guest would take while it runs, if it did.
fn reads_when_it_starts(step: &mut Step) {
    if step.impact == Impact::DomuRefresh {
        step.impact = Impact::DomuRestart;
        step.reason = Some("its image reads its configuration when it starts".to_owned());
        step.does.clear();
    }
}

/// The names of its images stand for other bytes than they did.
fn relocked(domu: &DomU, from: &Fleet, to: &Fleet, steps: &mut Vec<Step>) {
    let images: BTreeSet<&ImageRef> = domu.images().collect();
    for image in images {
        let [from, to] = [from, to].map(|fleet| fleet.locked.images.get(image));
        if from.is_some() && to.is_some() && from != to {
            let subject = Subject::DomU(domu.name.clone());
            let what = format!("image {image} is another one");
            let source = Some(LOCK.to_owned());
            steps.push(Step::new(subject, what, source, of_domu(&["image"], None)));
        }
    }
}

fn recreated(domu: &DomU, what: &str, reason: &str) -> Step {
    let rule = Rule::new(Impact::DomuRecreate, reason);
    Step::new(
        Subject::DomU(domu.name.clone()),
        what.to_owned(),
        None,
        rule,
    )
}

fn arrived(domu: &DomU, from: Option<&Name>) -> Step {
    let reason = match (from, keeps(domu)) {
        (Some(_), Some(volumes)) => format!("left there: {volumes}; copy first"),
        _ => String::new(),
    };
    let what = match from {
        Some(host) => format!("comes from {host}"),
        None => "is new".to_owned(),
    };
    let rule = Rule::new(Impact::DomuStart, &reason);
    Step::new(Subject::DomU(domu.name.clone()), what, None, rule)
}

pub(super) fn gone(domu: &DomU, to: Option<&Name>) -> Step {
    let what = match to {
        Some(host) => format!("moves to {host}"),
        None => "is gone".to_owned(),
    };
    let reason = keeps(domu).map(|volumes| format!("left here: {volumes}"));
    let rule = Rule::new(Impact::DomuStop, &reason.unwrap_or_default());
    Step::new(Subject::DomU(domu.name.clone()), what, None, rule)
}

/// The volumes that stay on a host when the domU goes.
fn keeps(domu: &DomU) -> Option<String> {
    let volumes: Vec<&str> = domu.disks.iter().filter_map(Disk::kept).collect();
    (!volumes.is_empty()).then(|| volumes.join(", "))
}
