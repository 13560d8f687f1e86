// SPDX-License-Identifier: GPL-3.0-or-later
//! A rehearsal: events of a boot in order, and the verdict.

mod differs;

use serde::{Deserialize, Serialize};

use crate::names::Name;
use crate::status::{DomuStatus, State};

pub use differs::{Difference, SetUp, differs, render};

/// Something that happened, in seconds since power-on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its name.
    pub event: EventKind,
    /// Seconds since power-on.
    pub seconds: f64,
    /// The domU it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domu: Option<Name>,
    /// What else is worth a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The events of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The machine was switched on.
    PowerOn,
    /// Xen printed its banner.
    Xen,
    /// dom0's kernel printed its banner.
    #[serde(rename = "dom0-kernel")]
    Dom0Kernel,
    /// The config partition was taken.
    ConfigMounted,
    /// `/etc` was composed.
    EtcComposed,
    /// systemd runs.
    Systemd,
    /// A domU was created.
    DomuCreated,
    /// A domU said that it is up.
    DomuUp,
    /// A domU could not be started.
    DomuFailed,
}

impl EventKind {
    /// The word for a timeline.
    pub fn word(self) -> &'static str {
        match self {
            Self::PowerOn => "power on",
            Self::Xen => "xen",
            Self::Dom0Kernel => "dom0 kernel",
            Self::ConfigMounted => "config",
            Self::EtcComposed => "/etc",
            Self::Systemd => "systemd",
            Self::DomuCreated => "created",
            Self::DomuUp => "up",
            Self::DomuFailed => "failed",
        }
    }
}

impl Event {
    /// The line of a timeline: seconds, what, detail.
    pub fn line(&self) -> String {
        let (what, rest) = match &self.domu {
            Some(domu) => (domu.to_string(), self.event.word().to_owned()),
            None => (self.event.word().to_owned(), String::new()),
        };
        let detail = self.detail.as_deref().unwrap_or_default();
        format!("{:>6.1}  {what:<11} {rest} {detail}", self.seconds)
            .trim_end()
            .to_owned()
    }
}

/// What a dom0 under rehearsal says over its event port, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Word {
    /// Once, when the agent's event service starts.
    Boot {
        /// `/run/domus/boot.json`.
        record: serde_json::Value,
    },
    /// How the domUs are, whenever that changed.
    Status {
        /// Every domU that should run.
        domus: Vec<DomuStatus>,
    },
}

/// Name of the virtio-serial port that carries [`Word`]s.
pub const EVENT_PORT: &str = "org.domus.events";

/// Firmware of a rehearsed machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// The result of a rehearsal.
#[derive(Debug, Clone, Serialize)]
pub struct Rehearsal {
    /// The host.
    pub host: Name,
    /// Release: version and the first digits of its id.
    pub release: String,
    /// The commit.
    pub commit: String,
    /// Firmware.
    pub firmware: Firmware,
    /// What ran the machine: `kvm` or `tcg`.
    pub accelerator: String,
    /// The config partition that the boot took.
    pub config_partition: Option<String>,
    /// Whether every domU that should run is up.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What of the machine was not as the real one has it.
    pub differs: Vec<Difference>,
    /// The events.
    pub timeline: Vec<Event>,
    /// The domUs.
    pub domus: Vec<DomuStatus>,
    /// The whole serial log.
    pub serial_log: String,
    /// Socket of the serial console, if the machine runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// Port on loopback that leads to the host's SSH, if the machine runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_port: Option<u16>,
}

/// How a host's domUs came up, once nothing changes by itself any more: the failure in words.
pub fn outcome(domus: &[DomuStatus]) -> Option<Result<(), String>> {
    let is_bad =
        |domu: &&DomuStatus| matches!(domu.state, State::Failed | State::Crashed | State::Degraded);
    let bad = domus.iter().filter(is_bad).count();
    let is_settled = domus.iter().all(|domu| domu.state.is_settled());
    is_settled.then(|| match bad {
        0 => Ok(()),
        _ => Err(format!("{bad} of {} domUs failed", domus.len())),
    })
}

/// What changed between two statuses, as events at `seconds`.
pub fn changes(before: &[DomuStatus], after: &[DomuStatus], seconds: f64) -> Vec<Event> {
    let mut events = Vec::new();
    for domu in after {
        let old = before.iter().find(|old| old.name == domu.name);
        let was = |state: fn(State) -> bool| old.is_some_and(|old| state(old.state));
        let is_up = |state| state == State::Up;
        let has_failed = |state| matches!(state, State::Failed | State::Crashed);
        let mut steps = Vec::new();
        if domu.domain.is_some() && domu.domain != old.and_then(|old| old.domain) {
            steps.push(EventKind::DomuCreated);
        }
        if is_up(domu.state) && !was(is_up) {
            steps.push(EventKind::DomuUp);
        }
        if has_failed(domu.state) && !was(has_failed) {
            steps.push(EventKind::DomuFailed);
        }
        events.extend(steps.iter().map(|&event| {
            Event {
                event,
                seconds,
                domu: Some(domu.name.clone()),
                detail: domu
                    .reason
                    .clone()
                    .filter(|_| event == EventKind::DomuFailed),
            }
        }));
    }
    events
}
