// SPDX-License-Identifier: GPL-3.0-or-later
//! `target.toml`: these hosts shall run this release and this commit. It is the one document of a
//! commit of its own, whose signature is the target's.

use crate::names::Name;
use crate::selector::Selector;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a publisher says that hosts shall run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    version: u32,
    /// The fleet whose hosts are meant.
    pub fleet: Name,
    /// Its number: of two targets the higher one counts.
    pub serial: u32,
    /// The hosts.
    pub hosts: Vec<Selector>,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The version of the release that they must run; without it, whichever they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// That release's id, where `domus.lock` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_id: Option<String>,
}

/// Why a target is not for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetError {
    /// It is of another fleet.
    Fleet(Name),
    /// Its serial is lower than the least that counts.
    Old {
        /// Its serial.
        serial: u32,
        /// The least.
        least: u32,
    },
    /// It is for another release.
    Release(String),
}

impl Target {
    /// Where it stands in its commit.
    pub const PATH: &'static str = "target.toml";
    /// The longest that is read, in bytes.
    pub const LONGEST: usize = 64 << 10;

    /// What a publisher says.
    pub fn new(fleet: Name, serial: u32, hosts: Vec<Selector>, commit: String) -> Self {
        Self {
            version: 1,
            fleet,
            serial,
            hosts,
            commit,
            release: None,
            release_id: None,
        }
    }

    /// Reads a target.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence that begins with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > Self::LONGEST {
            return Err("is too long".to_owned());
        }
        let text = std::str::from_utf8(text).map_err(|_| "is no text".to_owned())?;
        let target: Self =
            toml::from_str(text).map_err(|error| format!("cannot be read: {}", error.message()))?;
        let is_id = |text: &str| text.len() == 40 && text.bytes().all(|c| c.is_ascii_hexdigit());
        match target.version {
            1 if !is_id(&target.commit) => Err("names no commit".to_owned()),
            1 if target.serial == 0 => Err("has no serial".to_owned()),
            1 => Ok(target),
            other => Err(format!("is of version {other}, and version 1 is known")),
        }
    }

    /// The target as it is written.
    pub fn render(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Whether it says anything to this host.
    pub fn selects(&self, host: &Name, groups: &[Name]) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.any(|selector| selector.selects(host, groups))
    }

    /// Makes sure that hosts of this fleet may go by it.
    ///
    /// # Errors
    /// It is of another fleet, or older than `least`.
    pub fn ensure(&self, fleet: &Name, least: u32) -> Result<(), TargetError> {
        if self.fleet != *fleet {
            return Err(TargetError::Fleet(self.fleet.clone()));
        }
        match self.serial < least {
            true => Err(TargetError::Old {
                serial: self.serial,
                least,
            }),
            false => Ok(()),
        }
    }

    /// Makes sure that it is for this release, if for one.
    ///
    /// # Errors
    /// It is for another.
    pub fn ensure_release(&self, version: &str, id: Option<&str>) -> Result<(), TargetError> {
        let Some(release) = &self.release else {
            return Ok(());
        };
        let is_other = release != version
            || matches!((self.release_id.as_deref(), id), (Some(a), Some(b)) if a != b);
        match is_other {
            true => Err(TargetError::Release(release.clone())),
            false => Ok(()),
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet(fleet) => write!(f, "is of the fleet {fleet}"),
            Self::Old { serial, least } => write!(
                f,
                "has the serial {serial}, and {least} is the least that counts here: it was \
                 replayed, or somebody set the targets back"
            ),
            Self::Release(release) => write!(
                f,
                "is for the release {release}, which this host does not run: boot its medium"
            ),
        }
    }
}

impl std::error::Error for TargetError {}
