// SPDX-License-Identifier: GPL-3.0-or-later
//! What it means for one host to go from one commit to another: every difference, what it does
//! to what runs, and why.

mod differences;
mod domu;
mod impact;
mod render;
mod view;
mod words;

pub use differences::Difference;

use crate::files::Digest;
use crate::fleet::{Fleet, Host};
use crate::lock::LOCK;
use crate::names::Name;
use differences::differences;
use domu::gone;
use impact::{of_fleet, of_host, of_host_file};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use words::{setting, words};

/// What a difference does to what runs, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// Nothing stops.
    Live,
    /// A service of dom0 is reloaded or restarted; domUs go on.
    Service,
    /// A domU is started for the first time here.
    DomuStart,
    /// A domU is shut down and started.
    DomuRestart,
    /// A domU is shut down, and what starts is another: it does not find its data.
    DomuRecreate,
    /// A domU is shut down, for good.
    DomuStop,
    /// It waits until the host boots.
    HostReboot,
}

impl Impact {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Service => "service",
            Self::DomuStart => "start",
            Self::DomuRestart => "restart",
            Self::DomuRecreate => "recreate",
            Self::DomuStop => "stop",
            Self::HostReboot => "reboot",
        }
    }
}

impl Serialize for Impact {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What a difference is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The host itself.
    Host,
    /// A domU on it.
    #[serde(rename = "domU")]
    DomU(Name),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.pad(""),
            Self::DomU(name) => f.pad(name.as_str()),
        }
    }
}

/// One difference and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it does to what runs.
    pub impact: Impact,
    /// What it is about.
    pub subject: Subject,
    /// What differs: `memory 512MiB -> 768MiB`.
    pub what: String,
    /// The file in the repository that brings it, where one file does.
    pub source: Option<String>,
    /// Why the impact is what it is, or what else there is to know.
    pub reason: Option<String>,
}

/// All that differs for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The steps: those of the host first, then those of its domUs by name.
    pub steps: Vec<Step>,
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Side<'s> {
    /// What hosts share; its own hosts are not looked at.
    pub fleet: &'s Fleet,
    /// The host, if there is one.
    pub host: Option<&'s Host>,
    /// What identifies `global/hosts`, if there is one.
    pub names: Option<Digest>,
    /// The hosts of domUs that are not on this one.
    pub elsewhere: &'s BTreeMap<Name, Name>,
}

/// What was seen on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its domUs that run, if that is known.
    pub running: Option<BTreeSet<Name>>,
    /// Files in `/etc` that were changed since it booted.
    pub changed: BTreeSet<String>,
}

/// What it means for a host to go from one side to the other. The host has to be on one of them.
pub fn changes(from: Side<'_>, to: Side<'_>, observed: &Observed) -> Changes {
    let mut steps = Vec::new();
    match (from.host, to.host) {
        (Some(before), Some(after)) => {
            fleet_steps(from.fleet, to.fleet, after, &mut steps);
            relocked(from, to, &mut steps);
            host_steps(before, after, &mut steps);
            steps.extend(view::steps(
                &Subject::Host,
                &before.layers,
                &after.layers,
                |path| conflict(path, of_host_file(path), observed),
            ));
            if from.names != to.names {
                steps.push(Step {
                    impact: Impact::Live,
                    subject: Subject::Host,
                    what: "/etc/hosts changed".to_owned(),
                    source: Some("global/hosts".to_owned()),
                    reason: Some("domUs see it when they start next".to_owned()),
                });
            }
        }
        (None, Some(_)) => steps.push(whole_host(
            "the host is new",
            "prepare its config partition",
        )),
        (Some(before), None) => {
            return Changes {
                steps: deleted(before, to),
            };
        }
        (None, None) => {}
    }
    domu::steps(from, to, observed, &mut steps);
    Changes { steps }
}

/// A host that no commit has keeps what it runs, so that nobody else may run it.
fn deleted(host: &Host, to: Side<'_>) -> Vec<Step> {
    let mut steps = vec![whole_host(
        "the host is gone",
        "it keeps what it runs until then",
    )];
    for domu in host.domus.values() {
        if let Some(other) = to.elsewhere.get(&domu.name) {
            let reason = "nothing tells this host to: stop it by hand first";
            steps.push(Step {
                reason: Some(reason.to_owned()),
                ..gone(domu, Some(other))
            });
        }
    }
    steps
}

fn whole_host(what: &str, reason: &str) -> Step {
    Step {
        impact: Impact::HostReboot,
        subject: Subject::Host,
        what: what.to_owned(),
        source: None,
        reason: Some(reason.to_owned()),
    }
}

/// A file that was changed on the host, too: the commit's is seen, and what was changed is lost.
fn conflict(path: &str, rule: impact::Rule, observed: &Observed) -> impact::Rule {
    if !observed.changed.contains(path) {
        return rule;
    }
    let mut reason = "CONFLICT: what was changed on the host since it booted is lost".to_owned();
    if let Some(other) = rule.1 {
        reason += &format!("; {other}");
    }
    (rule.0, Some(reason))
}

fn fleet_steps(from: &Fleet, to: &Fleet, host: &Host, steps: &mut Vec<Step>) {
    let boots_it = host.release == to.release.version;
    for difference in differences(&json(from), &json(to)) {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        // What the fleet's release is made of is nothing to a host that keeps to another.
        if !boots_it && matches!(path[..], ["release", ..] | ["debian", "suite"]) {
            continue;
        }
        let Some((impact, reason)) = of_fleet(&path).filter(|_| path[0] != "hosts") else {
            continue;
        };
        steps.push(Step {
            impact,
            subject: Subject::Host,
            what: words(&difference, &setting(&path)),
            source: Some("domus.toml".to_owned()),
            reason,
        });
    }
}

/// The version of the host's release stands for another one than it did.
fn relocked(from: Side<'_>, to: Side<'_>, steps: &mut Vec<Step>) {
    let versions = [from, to].map(|side| side.host.map(|host| &host.release));
    let [Some(version), Some(same)] = versions else {
        return;
    };
    let [from, to] = [from, to].map(|side| side.fleet.locked.releases.get(version));
    if version == same && from.is_some() && to.is_some() && from != to {
        steps.push(Step {
            impact: Impact::HostReboot,
            subject: Subject::Host,
            what: format!("release {version} is another one"),
            source: Some(LOCK.to_owned()),
            reason: None,
        });
    }
}

fn host_steps(from: &Host, to: &Host, steps: &mut Vec<Step>) {
    for difference in differences(&json(from), &json(to)) {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        // They have steps of their own.
        if ["domUs", "layers"].contains(&path[0]) {
            continue;
        }
        let (impact, reason) = of_host(&path);
        steps.push(Step {
            impact,
            subject: Subject::Host,
            what: words(&difference, &setting(&path)),
            source: None,
            reason,
        });
    }
}

fn json(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}
