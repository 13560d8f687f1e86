// SPDX-License-Identifier: GPL-3.0-or-later
//! How a host's local disks are, for people and in JSON.

use serde::{Deserialize, Serialize};

/// How they are, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// All is as the document says.
    Ok,
    /// In use, but not as it should be.
    Degraded,
    /// A disk is not there; nothing was prepared without it.
    Waiting,
    /// A disk holds what nobody said may be erased, or cannot be used.
    Refused,
}

impl Standing {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}

/// What became of a host's local disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How they are.
    pub standing: Standing,
    /// Why they are not all as they should be.
    pub reasons: Vec<String>,
    /// What is on them: `/var`, `/tmp`, `swap`, the volume group.
    pub holds: Vec<String>,
    /// What else there is to know.
    pub remarks: Vec<String>,
}

impl Note {
    /// One line.
    pub fn line(&self) -> String {
        let mut line = format!("storage {}", self.standing.word());
        if !self.holds.is_empty() {
            line += &format!(": {}", self.holds.join(", "));
        }
        for more in self.reasons.iter().chain(&self.remarks) {
            line += &format!("; {more}");
        }
        line
    }

    /// Notes that something is not as it should be: not better than `standing`.
    pub fn worse(&mut self, standing: Standing, reason: impl Into<String>) {
        self.standing = self.standing.max(standing);
        self.reasons.push(reason.into());
    }
}
