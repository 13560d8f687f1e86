// SPDX-License-Identifier: GPL-3.0-or-later
//! What it means for one host to go from one commit to another: every difference, what it does
//! to what runs, and why.

mod conflict;
mod deeds;
mod differences;
mod domu;
mod files;
mod impact;
mod live;
mod render;
mod units;
mod view;
mod words;

pub use deeds::{Deed, in_order};
pub use differences::Difference;
pub use live::{Now, live};

use crate::files::Digest;
use crate::fleet::{Fleet, Host};
use crate::lock::LOCK;
use crate::names::Name;
use crate::network::{gives_addresses, routed};
use crate::units::{CpuSet, Size};
use differences::differences;
use domu::gone;
use files::of_host_file;
use impact::{Rule, of_dhcp_server, of_fleet, of_given, of_host, of_routing};
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
    /// A domU takes another configuration while it runs.
    DomuRefresh,
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
            Self::DomuRefresh => "refresh",
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
    /// What is run after it, in dom0 or in the domU that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub does: Vec<Deed>,
    /// The file in `/etc` of dom0 that it is about, where it is one.
    #[serde(skip)]
    path: Option<String>,
    /// Whether it was changed on the host, too.
    #[serde(skip_serializing_if = "is_false")]
    pub conflict: bool,
}

/// All that differs for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The steps: those of the host first, then those of its domUs by name.
    pub steps: Vec<Step>,
    /// Files in `/etc` of dom0 that were changed on it, and by the commit.
    pub conflicts: BTreeSet<String>,
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
    /// Those of them whose guests take another configuration while they run, if that is known.
    pub refreshing: Option<BTreeSet<Name>>,
    /// What those that run have by the hypervisor's word, where that is known.
    pub given: BTreeMap<Name, Given>,
    /// Files in `/etc` that were changed since it booted.
    pub changed: BTreeSet<String>,
    /// Those of them that stand against what the commit has, by an earlier plan.
    pub kept: BTreeSet<String>,
    /// Whether the commit's files replace those that were changed.
    pub overrule: bool,
}

/// What a domU that runs was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its memory, as its balloon was told.
    pub memory: Size,
    /// The most that it can have.
    pub max_memory: Size,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// The most that it can have.
    pub max_vcpus: u32,
    /// The host's CPUs that it runs on; with none, all.
    pub pin: Option<CpuSet>,
    /// Its weight, and its cap in percent of one CPU (0 is none), if the hypervisor tells.
    pub share: Option<(u32, u32)>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Step {
    fn new(subject: Subject, what: String, source: Option<String>, rule: Rule) -> Self {
        Self {
            impact: rule.impact,
            subject,
            what,
            source,
            reason: rule.reason,
            does: rule.does,
            path: None,
            conflict: false,
        }
    }

    fn about(self, path: &str) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..self
        }
    }
}

/// What it means for a host to go from one side to the other. The host has to be on one of them.
pub fn changes(from: Side<'_>, to: Side<'_>, observed: &Observed) -> Changes {
    let (mut steps, mut conflicts) = (Vec::new(), BTreeSet::new());
    match (from.host, to.host) {
        (Some(before), Some(after)) => {
            fleet_steps(from.fleet, to.fleet, after, &mut steps);
            relocked(from, to, &mut steps);
            host_steps(before, after, &mut steps);
            let own = Subject::Host;
            let files = view::steps(&own, &before.layers, &after.layers, of_host_file);
            steps.extend(files);
            if from.names != to.names {
                let what = "/etc/hosts changed".to_owned();
                let rule = Rule::new(Impact::Live, "");
                let source = Some("global/hosts".to_owned());
                steps.push(Step::new(Subject::Host, what, source, rule));
            }
            conflicts = conflict::mark(from, to, observed, &mut steps);
        }
        (None, Some(_)) => steps.push(whole_host(
            "the host is new",
            "prepare its config partition",
        )),
        (Some(before), None) => {
            return Changes {
                steps: deleted(before, to),
                conflicts,
            };
        }
        (None, None) => {}
    }
    domu::steps(from, to, observed, &mut steps);
    Changes { steps, conflicts }
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
    let rule = Rule::new(Impact::HostReboot, reason);
    Step::new(Subject::Host, what.to_owned(), None, rule)
}

fn fleet_steps(from: &Fleet, to: &Fleet, host: &Host, steps: &mut Vec<Step>) {
    let boots_it = host.release == to.release.version;
    for difference in differences(&json(from), &json(to)) {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        // What the fleet's release is made of is nothing to a host that keeps to another.
        if !boots_it && matches!(path[..], ["release", ..] | ["debian", "suite"]) {
            continue;
        }
        let rule = of_fleet(&path, &difference).filter(|_| path[0] != "hosts");
        let Some(rule) = rule else { continue };
        let what = words(&difference, &setting(&path));
        let source = Some("domus.toml".to_owned());
        steps.push(Step::new(Subject::Host, what, source, rule));
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
        let what = format!("release {version} is another one");
        let rule = Rule::new(Impact::HostReboot, "");
        steps.push(Step::new(Subject::Host, what, Some(LOCK.to_owned()), rule));
    }
}

fn host_steps(from: &Host, to: &Host, steps: &mut Vec<Step>) {
    let serves = gives_addresses(to);
    for difference in differences(&json(from), &json(to)) {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        // They have steps of their own.
        if ["domUs", "layers"].contains(&path[0]) {
            continue;
        }
        let what = words(&difference, &setting(&path));
        let rule = match path[..] {
            ["dom0", "dns"] if serves => of_given(),
            _ => of_host(&path),
        };
        steps.push(Step::new(Subject::Host, what, None, rule));
    }
    if serves != gives_addresses(from) {
        let what = if serves { "added" } else { "removed" };
        let what = format!("DHCP server {what}");
        steps.push(Step::new(Subject::Host, what, None, of_dhcp_server(serves)));
    }
    let [from, to] = [from, to].map(|host| match routed(host)[..] {
        [] => "none".to_owned(),
        ref families => families.join(", "),
    });
    if from != to {
        let what = format!("routing {from} -> {to}");
        steps.push(Step::new(Subject::Host, what, None, of_routing()));
    }
}

fn json(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}
