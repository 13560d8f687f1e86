// SPDX-License-Identifier: GPL-3.0-or-later
//! What it means for one host to go from one commit to another: every difference, what it does
//! to what runs, and why.

mod differences;
mod impact;
mod view;

pub use differences::Difference;

use crate::files::Digest;
use crate::fleet::{DomU, Fleet, Host};
use crate::names::Name;
use differences::differences;
use impact::{of_domu, of_fleet, of_host, of_host_file};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
            fleet_steps(from.fleet, to.fleet, &mut steps);
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
    domu_steps(from, to, observed, &mut steps);
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

fn fleet_steps(from: &Fleet, to: &Fleet, steps: &mut Vec<Step>) {
    for difference in differences(&json(from), &json(to)) {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
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

fn domu_steps(from: Side<'_>, to: Side<'_>, observed: &Observed, steps: &mut Vec<Step>) {
    let none = BTreeMap::new();
    let domus =
        |host: Option<&'_ Host>| host.map(|host| host.domus.clone()).unwrap_or(none.clone());
    let (before, after) = (domus(from.host), domus(to.host));
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
                changed(before, after, steps);
            }
            (None, Some(after)) => steps.push(arrived(after, from.elsewhere.get(name))),
            (Some(before), None) => steps.push(gone(before, to.elsewhere.get(name))),
            (None, None) => {}
        }
        let stops = [Impact::DomuRestart, Impact::DomuRecreate, Impact::DomuStop];
        for step in &mut steps[first..] {
            if !runs && stops.contains(&step.impact) {
                step.impact = Impact::Live;
                step.reason = Some("it does not run".to_owned());
            }
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
        let size = |domu: &DomU| {
            let mut disks = domu.disks.iter();
            let disk = disks.find(|disk| Some(&disk.name.as_str()) == path.get(1))?;
            disk.backing.size()
        };
        let size = size(from).zip(size(to)).map(|(from, to)| from.cmp(&to));
        let (impact, reason) = of_domu(&path, size);
        steps.push(Step {
            impact,
            subject: subject.clone(),
            what: words(&difference, &setting(&path)),
            source: None,
            reason,
        });
    }
    let reason = "a domU reads its layers when it starts";
    let rule = |_: &str| (Impact::DomuRestart, Some(reason.to_owned()));
    steps.extend(view::steps(&subject, &from.layers, &to.layers, rule));
}

fn recreated(domu: &DomU, what: &str, reason: &str) -> Step {
    Step {
        impact: Impact::DomuRecreate,
        subject: Subject::DomU(domu.name.clone()),
        what: what.to_owned(),
        source: None,
        reason: Some(reason.to_owned()),
    }
}

fn arrived(domu: &DomU, from: Option<&Name>) -> Step {
    let reason = match (from, keeps(domu)) {
        (Some(_), Some(volumes)) => Some(format!("left there: {volumes}; copy first")),
        _ => None,
    };
    Step {
        impact: Impact::DomuStart,
        subject: Subject::DomU(domu.name.clone()),
        what: match from {
            Some(host) => format!("comes from {host}"),
            None => "is new".to_owned(),
        },
        source: None,
        reason,
    }
}

fn gone(domu: &DomU, to: Option<&Name>) -> Step {
    Step {
        impact: Impact::DomuStop,
        subject: Subject::DomU(domu.name.clone()),
        what: match to {
            Some(host) => format!("moves to {host}"),
            None => "is gone".to_owned(),
        },
        source: None,
        reason: keeps(domu).map(|volumes| format!("left here: {volumes}")),
    }
}

/// The volumes that stay on a host when the domU goes.
fn keeps(domu: &DomU) -> Option<String> {
    let volumes: Vec<&str> = domu
        .disks
        .iter()
        .filter_map(|disk| disk.backing.volume())
        .collect();
    (!volumes.is_empty()).then(|| volumes.join(", "))
}

fn json(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// A setting as `show` names it: `network[0].bridge`.
fn setting(path: &[&str]) -> String {
    let mut name = String::new();
    for key in path {
        name += &match key.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) if name.is_empty() => (*key).to_owned(),
            Err(_) => format!(".{key}"),
        };
    }
    name
}

/// Long values, as keys are, need not be shown whole.
fn cut(text: String) -> String {
    const LONGEST: usize = 40;
    match text.chars().count() > LONGEST {
        true => text.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => text,
    }
}

/// `memory 512MiB -> 768MiB`
fn words(difference: &Difference, name: &str) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let items = items.iter().map(|item| match item {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            items.collect::<Vec<_>>().join(", ")
        }
        Value::Object(_) => String::new(),
        other => other.to_string(),
    };
    let text = |value: &Value| cut(text(value));
    match (&difference.from, &difference.to) {
        (Some(from), Some(to)) => format!("{name} {} -> {}", text(from), text(to)),
        (None, Some(to)) => format!("{name} added {}", text(to)).trim_end().to_owned(),
        (Some(from), None) => format!("{name} removed {}", text(from))
            .trim_end()
            .to_owned(),
        (None, None) => name.to_owned(),
    }
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// For people: a line each, and what it comes to.
    pub fn render(&self) -> String {
        if self.is_empty() {
            return "Nothing changes.\n".to_owned();
        }
        let rows = self.steps.iter().map(|step| {
            let source = step.source.as_ref();
            let what = match source {
                Some(source) => format!("{}   ({source})", step.what),
                None => step.what.clone(),
            };
            let what = match &step.subject {
                Subject::Host => what,
                Subject::DomU(name) => format!("{name}   {what}"),
            };
            (
                step.impact.word(),
                what,
                step.reason.as_deref().unwrap_or_default(),
            )
        });
        let (mut text, mut last) = (String::new(), "");
        for (word, what, reason) in rows {
            text += &format!("  {word:<8}  {what}\n");
            // What is true of several is said once.
            if !reason.is_empty() && reason != last {
                text += &format!("            {reason}\n");
            }
            last = reason;
        }
        text + "\n" + &self.summary()
    }

    fn summary(&self) -> String {
        // The most that happens to a domU is what happens to it.
        let mut most: BTreeMap<&Subject, Impact> = BTreeMap::new();
        for step in &self.steps {
            let known = most.entry(&step.subject).or_insert(step.impact);
            *known = step.impact.max(*known);
        }
        let count = |impact: Impact, verb: &str| {
            let subjects = most.iter().filter(|(_, most)| **most == impact);
            let list: Vec<String> = subjects.map(|(subject, _)| subject.to_string()).collect();
            (!list.is_empty()).then(|| format!("{verb}: {}. ", list.join(", ")))
        };
        let parts = [
            count(Impact::DomuStart, "Starts"),
            count(Impact::DomuRestart, "Restarts"),
            count(Impact::DomuRecreate, "Recreated"),
            count(Impact::DomuStop, "Stops"),
        ];
        let mut text: String = parts.into_iter().flatten().collect();
        let waits = self
            .steps
            .iter()
            .any(|step| step.impact == Impact::HostReboot);
        text += match waits {
            true => "Something waits for a reboot of the host.\n",
            false => "Nothing waits for a reboot.\n",
        };
        text
    }
}
