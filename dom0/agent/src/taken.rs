// SPDX-License-Identifier: GPL-3.0-or-later
//! The record of a commit that was taken while the host ran. The record of the boot stays as it
//! was; this one says what is in place of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use domus_model::boot::{Composed, StatementNote};
use domus_model::changes::Deed;
use domus_system::atomic;
use serde::{Deserialize, Serialize};

use crate::paths::Paths;

/// What was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// The commit that `/etc` and `/config` are of.
    pub(crate) commit: String,
    /// What said that it shall be run.
    pub(crate) statement: Option<StatementNote>,
    /// When, in seconds since 1970 by the host's clock.
    pub(crate) at: u64,
    /// The layers of `/etc`, lowest first.
    pub(crate) layers: Vec<Composed>,
    /// What in them could not be done, in sentences.
    pub(crate) problems: Vec<String>,
    /// Files in `/etc` that were changed on the host, and stand against the commit's.
    pub(crate) kept: BTreeSet<String>,
    /// What is still to be run: it failed, or somebody was killed before.
    pub(crate) left: Vec<Deed>,
}

impl Taken {
    /// The record, if a commit was taken since the boot.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn read(paths: &Paths) -> Result<Option<Self>> {
        let path = paths.taken();
        let doing = || {
            format!(
                "reading {}: the next boot makes an end of it",
                path.display()
            )
        };
        match fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(doing)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(doing),
        }
    }

    /// Writes the record.
    pub(crate) fn write(&self, paths: &Paths) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        atomic::write(&paths.taken(), text.as_bytes(), 0o644)
    }
}
