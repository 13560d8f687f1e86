// SPDX-License-Identifier: GPL-3.0-or-later
//! What it means for a host that runs to go to a commit: its `/etc` is of one commit, what is read
//! at boot of the one that it booted, and each domU of the one that it was started from.

use super::{Changes, Impact, Observed, Side, Step, Subject, changes};
use crate::names::Name;
use std::collections::BTreeSet;

/// What runs on a host, by the commits that it is of.
#[derive(Debug, Clone)]
pub struct Now<'s> {
    /// The commit that it booted.
    pub booted: Side<'s>,
    /// The commit that its `/etc` is of.
    pub applied: Side<'s>,
    /// Commits and the domUs that were started from them, of those that run.
    pub started: Vec<(Side<'s>, BTreeSet<Name>)>,
}

/// All that differs between what runs and what `to` wants.
pub fn live(now: &Now<'_>, to: Side<'_>, observed: &Observed) -> Changes {
    let unchanged = Observed {
        changed: BTreeSet::new(),
        ..observed.clone()
    };
    let Changes { steps, conflicts } = changes(now.applied, to, observed);
    let waits = |step: &Step| step.impact == Impact::HostReboot;
    let of_host = |step: &Step| step.subject == Subject::Host;
    // What waits for a reboot waits for what was not booted.
    let (mut host, mut domus): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(of_host);
    let since_boot = changes(now.booted, to, &unchanged).steps;
    let since_boot: Vec<Step> = since_boot
        .into_iter()
        .filter(|it| of_host(it) && waits(it))
        .collect();
    for step in host.iter_mut().filter(|step| waits(step) && !step.conflict) {
        step.impact = Impact::Live;
        step.reason = Some("as it was booted".to_owned());
    }
    host.retain(|step| !since_boot.iter().any(|other| is_of_same(step, other)));
    host.extend(since_boot);

    let running = |step: &Step, names: &BTreeSet<Name>| match &step.subject {
        Subject::Host => false,
        Subject::DomU(name) => names.contains(name),
    };
    for (side, names) in &now.started {
        // What counts without a restart counts since the commit was taken.
        domus.retain(|step| !running(step, names) || step.impact == Impact::Live);
        let steps = changes(*side, to, &unchanged).steps;
        let own = |step: &Step| running(step, names) && step.impact > Impact::Live;
        domus.extend(steps.into_iter().filter(own));
    }
    domus.sort_by(|a, b| a.subject.cmp(&b.subject));
    Changes {
        steps: [host, domus].concat(),
        conflicts,
    }
}

/// Whether both are about the same file, or the same setting.
fn is_of_same(one: &Step, other: &Step) -> bool {
    let setting = |step: &Step| step.what.split(' ').next().map(str::to_owned);
    (&one.path, setting(one)) == (&other.path, setting(other))
}

impl Changes {
    /// domUs that have to be restarted.
    pub fn restarts(&self) -> BTreeSet<Name> {
        self.domus(&[Impact::DomuRestart, Impact::DomuRecreate])
    }

    /// domUs that have settings which change without a restart.
    pub fn tuned(&self) -> BTreeSet<Name> {
        self.domus(&[Impact::Live])
    }

    /// domUs that take another configuration while they run, and need no more than that.
    pub fn refreshes(&self) -> BTreeSet<Name> {
        let more = [Impact::DomuRestart, Impact::DomuRecreate, Impact::DomuStop];
        let all = self.domus(&[Impact::DomuRefresh]);
        all.difference(&self.domus(&more)).cloned().collect()
    }

    /// domUs that have to be shut down for good.
    pub fn stops(&self) -> BTreeSet<Name> {
        self.domus(&[Impact::DomuStop])
    }

    /// What waits until the host boots.
    pub fn waits(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(|step| step.impact == Impact::HostReboot)
    }

    fn domus(&self, impacts: &[Impact]) -> BTreeSet<Name> {
        let steps = self
            .steps
            .iter()
            .filter(|step| impacts.contains(&step.impact));
        let names = steps.filter_map(|step| match &step.subject {
            Subject::Host => None,
            Subject::DomU(name) => Some(name.clone()),
        });
        names.collect()
    }
}
