// SPDX-License-Identifier: GPL-3.0-or-later
//! What `apply` did, for people and programs.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;
use domus_model::names::Name;
use domus_model::reconcile::Stray;
use domus_model::status::short;
use serde::Serialize;

use crate::context::Context;
use crate::live::Ran;
use crate::refresh::Refreshed;
use crate::steps::{Ballooning, Steps, waiting_line};
use crate::strays;

/// What was done.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Applied {
    pub(crate) host: String,
    pub(crate) commit: String,
    /// The commit that was in its place before, if another was taken.
    pub(crate) from: Option<String>,
    /// Whether it was about all of the host.
    #[serde(skip)]
    pub(crate) is_whole: bool,
    /// Files in `/etc` that were left as they were changed on the host.
    pub(crate) conflicts: BTreeSet<String>,
    /// What of `/etc` could not be done.
    pub(crate) problems: Vec<String>,
    /// What was run in dom0.
    pub(crate) ran: Vec<Ran>,
    /// dom0's memory, if it was changed.
    pub(crate) dom0_memory: Option<Ballooning>,
    /// Why it could not be.
    pub(crate) dom0_failure: Option<String>,
    pub(crate) stopped: Vec<Name>,
    pub(crate) started: Vec<Started>,
    pub(crate) failed: Vec<Failed>,
    pub(crate) kept: Vec<Name>,
    /// domUs that were given another configuration while they run.
    pub(crate) refreshed: Vec<Refreshed>,
    /// domUs that are started once they need not wait any more.
    pub(crate) pending: Vec<Pending>,
    /// domUs that nobody wants to run now.
    pub(crate) left: Vec<Pending>,
    /// domUs that should be restarted, and go on as they are.
    pub(crate) waiting: BTreeSet<Name>,
    /// What waits until the host boots.
    pub(crate) reboot: Vec<String>,
    #[serde(serialize_with = "strays::as_names")]
    pub(crate) strays: Vec<Stray>,
}

/// A domU that was started.
#[derive(Debug, Serialize)]
pub(crate) struct Started {
    pub(crate) name: Name,
    /// Number of its domain.
    pub(crate) id: u32,
}

/// A domU that was not started, or not stopped.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub(crate) name: Name,
    pub(crate) reason: String,
}

/// A domU that was not started yet, or is not, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Pending {
    pub(crate) name: Name,
    pub(crate) reason: String,
}

impl Applied {
    /// Nothing yet, of these steps.
    pub(crate) fn begin(next: &Context, steps: &Steps) -> Self {
        let reboot = steps.changes.waits().map(|step| step.what.clone());
        Self {
            host: next.host.name.to_string(),
            commit: next.commit.clone(),
            kept: steps.plan.keep.clone(),
            waiting: steps.waiting.clone(),
            reboot: reboot.collect(),
            strays: steps.strays.clone(),
            ..Self::default()
        }
    }

    /// Whether a domU was not stopped, or not started.
    pub(crate) fn has_failed(&self, name: &Name) -> bool {
        self.failed.iter().any(|failed| failed.name == *name)
    }

    /// Whether all that was to be done was done.
    pub(crate) fn is_clean(&self) -> bool {
        let ran = self.ran.iter().all(|ran| ran.failure.is_none());
        let refreshed = self.refreshed.iter().all(|it| it.failure.is_none());
        self.failed.is_empty() && self.dom0_failure.is_none() && ran && refreshed
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let (host, commit) = (&self.host, short(&self.commit));
        let mut text = match &self.from {
            Some(from) => format!("{host}   commit {} -> {commit}\n", short(from)),
            None => format!("{host}   commit {commit}\n"),
        };
        let mut line = |name: &dyn std::fmt::Display, what: &str| {
            let _ = writeln!(text, "  {:<7} {what}", name.to_string());
        };
        for path in &self.conflicts {
            let what = format!("/etc/{path} stays as it was changed on the host");
            line(&"CONFLICT", &what);
        }
        self.problems.iter().for_each(|it| line(&"dom0", it));
        for Ran { command, failure } in &self.ran {
            match failure {
                None => line(&"dom0", command),
                Some(failure) => line(&"dom0", &format!("FAILED: {failure}")),
            }
        }
        if let Some(Ballooning { from_mib, to_mib }) = self.dom0_memory {
            line(&"dom0", &format!("memory {from_mib} MiB -> {to_mib} MiB"));
        }
        if let Some(reason) = &self.dom0_failure {
            line(&"dom0", &format!("FAILED: {reason}"));
        }
        self.stopped.iter().for_each(|name| line(name, "stopped"));
        for Started { name, id } in &self.started {
            line(name, &format!("started as domain {id}"));
        }
        for Failed { name, reason } in &self.failed {
            line(name, &format!("FAILED: {reason}"));
        }
        let is_told = |name: &Name| self.refreshed.iter().any(|it| it.name == *name);
        let kept = self.kept.iter().filter(|name| !is_told(name));
        kept.for_each(|name| line(name, "runs"));
        for Refreshed {
            name,
            taken,
            failure,
        } in &self.refreshed
        {
            let what = match taken {
                true => "runs, and has its new configuration",
                false => "runs, and did not take its new configuration",
            };
            let failure = failure.iter().map(|failure| format!("; FAILED: {failure}"));
            line(name, &(what.to_owned() + &failure.collect::<String>()));
        }
        for Pending { name, reason } in &self.pending {
            line(name, reason);
        }
        for Pending { name, reason } in &self.left {
            line(name, reason);
        }
        for what in &self.reboot {
            line(&"reboot", &format!("{what}: it waits for that"));
        }
        text + &waiting_line(&self.waiting) + &strays::lines(&self.strays)
    }
}
