// SPDX-License-Identifier: GPL-3.0-or-later
//! How the domUs of a host are: what `domus-dom0 status` and a rehearsal show.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::fleet::{DomU, Kind};
use crate::names::{ImageRef, Name};
use crate::reconcile::Standing;
use crate::report::Report;
use crate::table::table;
use crate::units::Mac;

/// State of a domU that should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is not started yet: it waits for other domUs, or for its turn to be tried again.
    Pending,
    /// It is being made, or runs and has not reported yet.
    Starting,
    /// It said so itself.
    Up,
    /// It runs, and not as it should; the reason is beside it.
    Degraded,
    /// It was asked to shut down, and runs still.
    Stopping,
    /// It does not run, and nobody wants it to now.
    Stopped,
    /// It ended by itself, and is left so; the reason is beside it.
    Crashed,
    /// It could not be started; the reason is beside it, and when it is tried again.
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing but somebody's doing changes it.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Starting | Self::Stopping)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One domU. What only the guest can know is absent until it reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomuStatus {
    /// Its name.
    pub name: Name,
    /// Its state.
    pub state: State,
    /// The number of the domain that it runs in.
    pub domain: Option<u32>,
    /// Why, where the state does not speak for itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What it said last on its console before it fell, if it has not held since.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub last_words: Vec<String>,
    /// PV or PVH; the guest's word once it is up.
    pub kind: Kind,
    /// Memory in MiB; the guest's word once it is up.
    pub memory_mib: u64,
    /// CPUs; the guest's word once it is up.
    pub vcpus: u32,
    /// MAC addresses; the guest's word once it is up.
    pub macs: Vec<Mac>,
    /// Image; the guest's word once it is up.
    pub image: ImageRef,
    /// Commit its `/etc` was composed from, by the guest's word.
    pub commit: Option<String>,
    /// Whether a write to its root was refused, by the guest's word.
    pub root_read_only: Option<bool>,
}

impl DomuStatus {
    /// Joins what a domU should be with what it is, with the number of its domain and with what its
    /// guest said.
    pub fn new(
        wanted: &DomU,
        standing: Standing,
        domain: Option<u32>,
        report: Option<Report>,
    ) -> Self {
        let mut status = Self {
            name: wanted.name.clone(),
            state: standing.state,
            domain,
            reason: standing.reason,
            last_words: standing.last_words,
            kind: wanted.kind,
            memory_mib: wanted.memory.mib(),
            vcpus: wanted.vcpus,
            macs: wanted.vifs.iter().map(|vif| vif.mac).collect(),
            image: wanted.image.clone(),
            commit: None,
            root_read_only: None,
        };
        if let Some(report) = report {
            status.hear(report);
        }
        status
    }

    /// Takes the guest's word for what it alone knows.
    fn hear(&mut self, report: Report) {
        self.kind = report.kind;
        self.memory_mib = report.memory_mib;
        self.vcpus = report.vcpus;
        self.macs = report.macs;
        self.image = report.image;
        self.commit = Some(report.commit);
        self.root_read_only = Some(report.root_read_only);
    }

    /// Its reason in a line, and what it said last in some more.
    fn reasons(&self) -> String {
        let name = &self.name;
        let mut text = match &self.reason {
            Some(reason) => format!("{name}: {reason}\n"),
            None if self.last_words.is_empty() => String::new(),
            None => format!("{name}: before it fell it said\n"),
        };
        for line in &self.last_words {
            let _ = writeln!(text, "  | {line}");
        }
        text
    }

    fn row(&self) -> Vec<String> {
        let macs: Vec<String> = self.macs.iter().map(ToString::to_string).collect();
        let root = match self.root_read_only {
            Some(true) => "read-only",
            Some(false) => "WRITABLE",
            None => "-",
        };
        vec![
            self.name.to_string(),
            self.state.word().into(),
            self.kind.to_string(),
            format!("{} MiB", self.memory_mib),
            self.vcpus.to_string(),
            if macs.is_empty() {
                "-".into()
            } else {
                macs.join(" ")
            },
            self.image.to_string(),
            self.commit
                .as_deref()
                .map_or("-".into(), |commit| short(commit).to_owned()),
            root.into(),
        ]
    }
}

/// The first seven digits of a commit.
pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// The table of domUs, a line for each reason, and below it what those said last that fell.
pub fn render(domus: &[DomuStatus]) -> String {
    let header = [
        "domU", "state", "kind", "memory", "vcpus", "MAC", "image", "commit", "root",
    ];
    let rows: Vec<Vec<String>> = domus.iter().map(DomuStatus::row).collect();
    let reasons: String = domus.iter().map(DomuStatus::reasons).collect();
    let between = if reasons.is_empty() { "" } else { "\n" };
    table(&header, &rows) + between + &reasons
}
