// SPDX-License-Identifier: GPL-3.0-or-later
//! What `apply` has to do, as a value: `plan` prints it, `apply` runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;
use domus_model::changes::{Changes, Deed, Given, Observed, in_order};
use domus_model::fleet::{Host, Policy};
use domus_model::names::Name;
use domus_model::plan::{Plan, plan};
use domus_model::reconcile::{Stray, decide};
use domus_model::status::{State, short};
use domus_model::volumes::orphans_line;
use domus_system::live_etc::Etc;
use domus_virt::Dom0Memory;
use serde::Serialize;

use crate::args::Command;
use crate::context::Context;
use crate::keep::{self, Endings, Remember};
use crate::live;
use crate::notes::Notes;
use crate::observe::{Domains, Observer};
use crate::strays;
use crate::warn;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Only these domUs, and nothing of the host.
    pub(crate) names: Vec<Name>,
    /// Restart domUs, whatever the fleet says.
    pub(crate) restart: bool,
    /// Replace files that were changed on the host.
    pub(crate) force: bool,
    /// Try again what failed or was left.
    pub(crate) again: bool,
}

impl Wish {
    /// Whether all that failed is tried again, and not only what is named.
    pub(crate) fn tries_again_all(&self) -> bool {
        self.again && self.names.is_empty()
    }

    /// What an operator asks for: that what failed is tried again goes without saying.
    pub(crate) fn of(command: &Command) -> Self {
        let mut wish = Self::default();
        match command {
            Command::Apply {
                names,
                restart,
                force,
                ..
            } => {
                wish.names.clone_from(names);
                wish.restart = *restart;
                wish.force = *force;
                wish.again = true;
            }
            Command::Start { names, .. } => wish.names.clone_from(names),
            Command::Restart { names, .. } => {
                wish.names.clone_from(names);
                wish.restart = true;
            }
            _ => {}
        }
        wish
    }
}

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Steps {
    /// The commit that is taken live, if it is another.
    pub(crate) to: Option<String>,
    /// All that differs between what runs and what is wanted.
    #[serde(flatten)]
    pub(crate) changes: Changes,
    /// What is run in dom0.
    pub(crate) run: Vec<Deed>,
    /// domUs that are shut down for good.
    pub(crate) stop: BTreeSet<Name>,
    /// domUs that are shut down and started.
    pub(crate) restart: BTreeSet<Name>,
    /// domUs that take another configuration while they run.
    pub(crate) refresh: BTreeSet<Name>,
    /// domUs that go on as they are, and should be restarted.
    pub(crate) waiting: BTreeSet<Name>,
    /// dom0's memory, if it has to change.
    pub(crate) dom0_memory: Option<Ballooning>,
    /// domUs.
    #[serde(flatten)]
    pub(crate) plan: Plan,
    /// domUs that do not run and are left so: an operator stopped them, or they were never asked for.
    pub(crate) left: Vec<Name>,
    /// Domains that nobody declared.
    #[serde(serialize_with = "strays::as_names")]
    pub(crate) strays: Vec<Stray>,
    /// Volumes that no domU has, for who looks: nothing is done to them.
    pub(crate) orphans: Vec<String>,
}

/// A change of dom0's memory, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Ballooning {
    pub(crate) from_mib: u64,
    pub(crate) to_mib: u64,
}

/// Steps and the host they are for.
#[derive(Serialize)]
struct Shown<'a> {
    host: &'a Name,
    commit: &'a str,
    #[serde(flatten)]
    steps: &'a Steps,
}

impl Steps {
    /// Looks at this host and says what has to be done so that it runs `next`.
    pub(crate) fn find(
        context: &Context,
        next: &Context,
        observer: &mut Observer,
        domains: &Domains,
        wish: &Wish,
    ) -> Result<Self> {
        let mut steps = Self::default();
        if wish.names.is_empty() {
            steps.changes = differences(context, next, observer, domains, wish.force)?;
            let left = context.taken.iter().flat_map(|taken| taken.left.clone());
            steps.run = in_order(left.chain(steps.changes.deeds()));
            steps.to = (next.commit != context.commit).then(|| next.commit.clone());
            let policy = next.wanted.config.as_ref().map(|config| config.apply);
            let restarts = steps.changes.restarts();
            match wish.restart || policy == Some(Policy::Restart) {
                true => steps.restart = restarts,
                false => steps.waiting = restarts,
            }
            steps.refresh = steps.changes.refreshes();
            steps.stop = steps.changes.stops();
        } else if wish.restart {
            let runs = |name: &&Name| domains.running.contains_key(name.as_str());
            steps.restart = wish.names.iter().filter(runs).cloned().collect();
        }
        let known = keep::known(next, observer, domains, &Endings::new(), Remember::No)?;
        let decision = decide(&next.host.domus, &known, None, keep::now());
        let is_left = |state| match wish.tries_again_all() {
            true => state == State::Stopped,
            false => matches!(state, State::Stopped | State::Crashed),
        };
        let standings = decision.standings.into_iter();
        let left = standings.filter(|(_, standing)| is_left(standing.state));
        let left = left.map(|(name, _)| name).collect();
        steps.domus(&next.host, domains, &left, &wish.names);
        steps.strays = strays::find(next, observer, domains);
        // What is shut down is none.
        let ends = |name: &str| steps.stop.iter().any(|other| other.as_str() == name);
        steps.strays.retain(|stray| !ends(&stray.name));
        match observer.hypervisor()?.dom0_memory() {
            Ok(memory) => steps.dom0_memory = ballooning(&next.host, memory),
            Err(error) => warn(&error),
        }
        Ok(steps)
    }

    /// What has to be done to domUs; only for those in `names`, unless that is empty.
    fn domus(&mut self, host: &Host, domains: &Domains, left: &BTreeSet<Name>, names: &[Name]) {
        let asked = |name: &Name| names.is_empty() || names.contains(name);
        let ends = |name: &str| {
            let mut all = self.stop.iter().chain(&self.restart);
            all.any(|other| other.as_str() == name)
        };
        let running = &domains.running;
        let is_left = |name: &Name| {
            left.contains(name) && !names.contains(name) && !running.contains_key(name.as_str())
        };
        let mut wanted = host.domus.clone();
        wanted.retain(|name, _| !is_left(name));
        let stays = running.keys().filter(|name| !ends(name));
        let running = stays.cloned().collect();
        let mut plan = plan(&wanted, &running);
        plan.start.iter_mut().for_each(|wave| wave.retain(asked));
        plan.start.retain(|wave| !wave.is_empty());
        plan.keep.retain(asked);
        let declared = host.domus.keys();
        self.left = declared
            .filter(|name| is_left(name) && asked(name))
            .cloned()
            .collect();
        self.plan = plan;
    }

    /// Whether `/etc` has to be put in place anew.
    pub(crate) fn is_switch(&self, force: bool) -> bool {
        self.to.is_some() || (force && !self.changes.conflicts.is_empty())
    }

    /// Whether everything is as it should be.
    pub(crate) fn is_empty(&self) -> bool {
        self.dom0_memory.is_none()
            && self.plan.start.is_empty()
            && self.to.is_none()
            && self.run.is_empty()
            && self.changes.is_empty()
    }

    /// One JSON object.
    pub(crate) fn json(&self, context: &Context) -> Result<String> {
        let host = &context.host.name;
        let shown = Shown {
            host,
            commit: &context.commit,
            steps: self,
        };
        Ok(serde_json::to_string_pretty(&shown)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self, context: &Context) -> String {
        let (host, commit) = (&context.host.name, short(&context.commit));
        let mut text = match &self.to {
            Some(to) => format!("{host}   commit {commit} -> {}\n", short(to)),
            None => format!("{host}   commit {commit}\n"),
        };
        if !self.changes.is_empty() {
            text += &self.changes.render();
            text += "\n";
        }
        if let Some(Ballooning { from_mib, to_mib }) = self.dom0_memory {
            let _ = writeln!(text, "  dom0    memory {from_mib} MiB -> {to_mib} MiB");
        }
        for (word, names) in [
            ("stop", &self.stop),
            ("restart", &self.restart),
            ("refresh", &self.refresh),
        ] {
            let names: Vec<Name> = names.iter().cloned().collect();
            if !names.is_empty() {
                let _ = writeln!(text, "  {word:<7} {}", list(&names));
            }
        }
        for (index, wave) in self.plan.start.iter().enumerate() {
            let word = if index == 0 { "start" } else { "then" };
            let _ = writeln!(text, "  {word:<7} {}", list(wave));
        }
        for (word, names) in [("keep", &self.plan.keep), ("left", &self.left)] {
            if !names.is_empty() {
                let _ = writeln!(text, "  {word:<7} {}", list(names));
            }
        }
        text += &waiting_line(&self.waiting);
        if self.is_empty() {
            text += "Nothing to do.\n";
        }
        text + &strays::lines(&self.strays) + &orphans_line(&self.orphans)
    }
}

/// All that differs between what runs and what `next` wants.
pub(crate) fn differences(
    context: &Context,
    next: &Context,
    observer: &mut Observer,
    domains: &Domains,
    force: bool,
) -> Result<Changes> {
    let mut running = BTreeSet::new();
    for name in domains.running.keys().filter_map(|name| name.parse().ok()) {
        // Whoever was started from no commit, and is in none, is none of ours.
        let is_started = Notes::on(&context.paths, &name).record().commit.is_some();
        let mut commits = [context, next].into_iter();
        if is_started || commits.any(|it| it.host.domus.contains_key(&name)) {
            running.insert(name);
        }
    }
    let kept = context.taken.as_ref().map(|taken| taken.kept.clone());
    let places = context.paths.etc();
    let observed = Observed {
        refreshing: Some(refreshing(observer, domains, &running)),
        given: given(observer, &running),
        running: Some(running.clone()),
        changed: Etc::find(&places)?.changed(&places)?,
        kept: kept.unwrap_or_default(),
        overrule: force,
    };
    live::changes(context, next, &running, &observed)
}

/// Those whose guests take another configuration while they run, as they say.
fn refreshing(
    observer: &mut Observer,
    domains: &Domains,
    running: &BTreeSet<Name>,
) -> BTreeSet<Name> {
    let mut takes = |name: &&Name| {
        let id = domains.running.get(name.as_str());
        let report = id.and_then(|id| observer.report(*id).ok().flatten());
        report.is_some_and(|report| report.refreshes)
    };
    running.iter().filter(&mut takes).cloned().collect()
}

/// What domUs that run were given, as far as libvirt says.
fn given(observer: &mut Observer, running: &BTreeSet<Name>) -> BTreeMap<Name, Given> {
    let mut found = BTreeMap::new();
    for name in running {
        let given = observer.hypervisor().and_then(|it| it.given(name.as_str()));
        match given {
            Ok(Some(given)) => {
                found.insert(name.clone(), given);
            }
            Ok(None) => {}
            Err(error) => warn(&error),
        }
    }
    found
}

/// The line that says which domUs should be restarted; nothing if none should.
pub(crate) fn waiting_line(names: &BTreeSet<Name>) -> String {
    let names: Vec<Name> = names.iter().cloned().collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(
            "waiting for a restart: {}; `domus-dom0 apply --restart` does it\n",
            list(&names)
        ),
    }
}

/// The line that says which domUs have an older configuration than they could; nothing if none has.
pub(crate) fn refresh_line(names: &BTreeSet<Name>) -> String {
    let names: Vec<Name> = names.iter().cloned().collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(
            "with an older configuration: {}; `domus-dom0 apply` gives them the new one\n",
            list(&names)
        ),
    }
}

fn list(names: &[Name]) -> String {
    names
        .iter()
        .map(Name::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

pub(crate) fn ballooning(host: &Host, memory: Dom0Memory) -> Option<Ballooning> {
    let to = memory.step(host.dom0.memory)?;
    Some(Ballooning {
        from_mib: memory.now.mib(),
        to_mib: to.mib(),
    })
}

#[cfg(test)]
mod tests;
