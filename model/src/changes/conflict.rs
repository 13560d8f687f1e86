// SPDX-License-Identifier: GPL-3.0-or-later
//! Files in `/etc` that were changed on the host and by the commit. The host's stays: whoever
//! changed it may need it right now, and the next boot has the commit's anyway.

use super::files::{Fate, of_host_file};
use super::{Impact, Observed, Side, Step, Subject};
use crate::etc;
use crate::layers::above;
use crate::rendered::RenderedFile;
use std::collections::BTreeSet;

const STAYS: &str = "CONFLICT: it was changed on the host, too, and that stays until the host boots, \
                     or `domus-dom0 apply --force`";
const LOST: &str = "CONFLICT: what was changed on the host is lost";

/// Marks the steps that are in conflict, and adds those that no setting shows. Returns the files
/// that were changed on the host.
pub(super) fn mark(
    from: Side<'_>,
    to: Side<'_>,
    observed: &Observed,
    steps: &mut Vec<Step>,
) -> BTreeSet<String> {
    let mut conflicts = BTreeSet::new();
    if observed.changed.is_empty() {
        return conflicts;
    }
    steps.extend(generated(from, to, observed));
    let mut file = |step: &mut Step| {
        let Some(path) = &step.path else { return };
        let touched = observed.touched(path);
        if !touched.is_empty() {
            conflicts.extend(touched);
            settle(step, observed.overrule);
        }
    };
    steps.iter_mut().for_each(&mut file);
    for path in observed.kept.intersection(&observed.changed) {
        if !conflicts.contains(path) {
            let mut step = of_file(path, "is not as the commit has it");
            settle(&mut step, observed.overrule);
            steps.push(step);
            conflicts.insert(path.clone());
        }
    }
    conflicts
}

/// Says what becomes of a step in conflict.
fn settle(step: &mut Step, overrule: bool) {
    step.conflict = true;
    if !overrule {
        step.impact = Impact::HostReboot;
        step.reason = Some(STAYS.to_owned());
        step.does.clear();
        return;
    }
    let more = step.reason.take().map(|reason| format!("; {reason}"));
    step.reason = Some(LOST.to_owned() + &more.unwrap_or_default());
}

fn of_file(path: &str, what: &str) -> Step {
    let rule = of_host_file(path, Fate::Changed);
    let step = Step::new(Subject::Host, format!("/etc/{path} {what}"), None, rule);
    step.about(path)
}

/// Generated files that differ and were changed on the host.
fn generated(from: Side<'_>, to: Side<'_>, observed: &Observed) -> Vec<Step> {
    let files = |side: Side<'_>| -> Vec<RenderedFile> {
        let host = side.host.iter();
        host.flat_map(|host| etc::for_host(side.fleet, host, side.names.is_some()))
            .collect()
    };
    let (from, to) = (files(from), files(to));
    let all: BTreeSet<&str> = from
        .iter()
        .chain(&to)
        .map(|file| file.path.as_str())
        .collect();
    let of = |files: &[RenderedFile], path: &str| -> Option<RenderedFile> {
        files.iter().find(|file| file.path == path).cloned()
    };
    let differs = |path: &&str| of(&from, path) != of(&to, path);
    let all = all.into_iter().filter(differs);
    let all = all.filter(|path| !observed.touched(path).is_empty());
    all.map(|path| of_file(path, "is generated anew")).collect()
}

impl Observed {
    /// What was changed on the host at `path`, above it or below it.
    fn touched(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let inside = self.changed.range(below.clone()..);
        let inside = inside.take_while(|changed| changed.starts_with(&below));
        let here = [path].into_iter().chain(above(path));
        let here = here.filter_map(|path| self.changed.get(path));
        here.chain(inside).cloned().collect()
    }
}
