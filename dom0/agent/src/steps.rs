// SPDX-License-Identifier: GPL-3.0-or-later
//! What `apply` has to do, as a value: `plan` prints it, `apply` runs it.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;
use domus_model::fleet::Host;
use domus_model::names::Name;
use domus_model::plan::{Plan, plan};
use domus_model::status::short;
use domus_virt::Dom0Memory;
use serde::Serialize;

use crate::context::Context;
use crate::notes::Notes;
use crate::observe::{Domains, Observer};
use crate::warn;

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Steps {
    /// dom0's memory, if it has to change.
    pub(crate) dom0_memory: Option<Ballooning>,
    /// domUs.
    #[serde(flatten)]
    pub(crate) plan: Plan,
    /// domUs that an operator stopped: they are left so.
    pub(crate) held: Vec<Name>,
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
    /// Looks at this host and says what has to be done; for the domUs in `names` only, unless
    /// that is empty.
    pub(crate) fn find(
        context: &Context,
        observer: &mut Observer,
        domains: &Domains,
        names: &[Name],
    ) -> Result<Self> {
        let mut steps = Self::new(&context.host, domains, &held(context), names);
        match observer.hypervisor()?.dom0_memory() {
            Ok(memory) => steps.dom0_memory = ballooning(&context.host, memory),
            Err(error) => warn(&error),
        }
        Ok(steps)
    }

    fn new(host: &Host, domains: &Domains, held: &BTreeSet<Name>, names: &[Name]) -> Self {
        let asked = |name: &Name| names.is_empty() || names.contains(name);
        let running = &domains.running;
        let held = |name: &Name| held.contains(name) && !running.contains_key(name.as_str());
        let mut wanted = host.domus.clone();
        wanted.retain(|name, _| !held(name));
        // Of what libvirt does not know only strays are of interest: a domU is no stray.
        let strays = domains
            .unknown
            .keys()
            .filter(|name| !host.domus.contains_key(name.as_str()));
        let running = running.keys().chain(strays).cloned().collect();
        let mut plan = plan(&wanted, &running);
        plan.start.iter_mut().for_each(|wave| wave.retain(asked));
        plan.start.retain(|wave| !wave.is_empty());
        plan.keep.retain(asked);
        // One that was stopped by hand is declared, running or not.
        plan.strays
            .retain(|name| !host.domus.contains_key(name.as_str()));
        let held = host
            .domus
            .keys()
            .filter(|name| held(name) && asked(name))
            .cloned()
            .collect();
        Self {
            dom0_memory: None,
            plan,
            held,
        }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.dom0_memory.is_none() && self.plan.start.is_empty()
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
        let mut text = format!(
            "{}   commit {}\n",
            context.host.name,
            short(&context.commit)
        );
        if let Some(Ballooning { from_mib, to_mib }) = self.dom0_memory {
            let _ = writeln!(text, "  dom0    memory {from_mib} MiB -> {to_mib} MiB");
        }
        for (index, wave) in self.plan.start.iter().enumerate() {
            let word = if index == 0 { "start" } else { "then" };
            let _ = writeln!(text, "  {word:<7} {}", list(wave));
        }
        for (word, names) in [("keep", &self.plan.keep), ("held", &self.held)] {
            if !names.is_empty() {
                let _ = writeln!(text, "  {word:<7} {}", list(names));
            }
        }
        if self.is_empty() {
            text += "Nothing to do.\n";
        }
        text + &strays_line(&self.plan.strays)
    }
}

/// The line that names strays; nothing if there are none.
pub(crate) fn strays_line(strays: &[String]) -> String {
    match (strays.len(), strays.join(", ")) {
        (0, _) => String::new(),
        (1, name) => format!("strays: {name} runs here and nobody declared it; left alone\n"),
        (_, names) => format!("strays: {names} run here and nobody declared them; left alone\n"),
    }
}

fn list(names: &[Name]) -> String {
    names
        .iter()
        .map(Name::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn held(context: &Context) -> BTreeSet<Name> {
    let names = context.host.domus.keys();
    names
        .filter(|name| Notes::on(&context.paths, name).is_held())
        .cloned()
        .collect()
}

fn ballooning(host: &Host, memory: Dom0Memory) -> Option<Ballooning> {
    let to = memory.step(host.dom0.memory)?;
    Some(Ballooning {
        from_mib: memory.now.mib(),
        to_mib: to.mib(),
    })
}

#[cfg(test)]
mod tests;
