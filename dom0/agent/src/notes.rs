// SPDX-License-Identifier: GPL-3.0-or-later
//! What is remembered about a domU until the next boot, in RAM: that it ran, why it could not be
//! started, and that an operator stopped it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Error, Result};
use domus_model::names::Name;
use domus_system::atomic;

use crate::paths::Paths;

const FAILURE: &str = "failure";
const HELD: &str = "held";
const RAN: &str = "ran";
const COMMIT: &str = "commit";

/// The notes on one domU.
pub(crate) struct Notes {
    dir: PathBuf,
}

impl Notes {
    pub(crate) fn on(paths: &Paths, name: &Name) -> Self {
        Self {
            dir: paths.domu(name),
        }
    }

    /// Why the last attempt to start it failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        let path = self.dir.join(FAILURE);
        match fs::read_to_string(&path) {
            Ok(reason) => Some(reason.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(format!("reading {}: {error}", path.display())),
        }
    }

    /// Remembers why it could not be started.
    pub(crate) fn fail(&self, reason: &str) -> Result<()> {
        atomic::write(
            &self.dir.join(FAILURE),
            format!("{reason}\n").as_bytes(),
            0o644,
        )
    }

    /// Remembers that it runs, and forgets that it ever failed.
    pub(crate) fn succeed(&self) -> Result<()> {
        if !self.has_run() {
            atomic::write(&self.dir.join(RAN), b"", 0o644)?;
        }
        self.remove(FAILURE)
    }

    /// Remembers of which commit it is started.
    pub(crate) fn begin(&self, commit: &str) -> Result<()> {
        atomic::write(&self.dir.join(COMMIT), commit.as_bytes(), 0o644)
    }

    /// The commit that it was started from last.
    pub(crate) fn commit(&self) -> Option<String> {
        fs::read_to_string(self.dir.join(COMMIT)).ok()
    }

    /// Forgets how it fared.
    pub(crate) fn forget(&self) -> Result<()> {
        self.remove(COMMIT)?;
        self.remove(RAN)?;
        self.remove(FAILURE)
    }

    /// Whether it was seen to run, and nobody stopped it since.
    pub(crate) fn has_run(&self) -> bool {
        self.dir.join(RAN).exists()
    }

    /// Whether an operator stopped it.
    pub(crate) fn is_held(&self) -> bool {
        self.dir.join(HELD).exists()
    }

    /// Remembers that an operator stopped it.
    pub(crate) fn hold(&self) -> Result<()> {
        atomic::write(&self.dir.join(HELD), b"", 0o644)
    }

    /// Lets it be started again.
    pub(crate) fn release(&self) -> Result<()> {
        self.remove(HELD)
    }

    fn remove(&self, note: &str) -> Result<()> {
        let path = self.dir.join(note);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// An error with all its causes in one line.
pub(crate) fn one_line(error: &Error) -> String {
    let text = format!("{error:#}");
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kept_and_forgotten() {
        let dir = tempfile::tempdir().expect("dir");
        let notes = Notes::on(&Paths::below(dir.path()), &"web".parse().expect("name"));
        assert_eq!((notes.failure(), notes.is_held()), (None, false));
        assert!(!notes.has_run());
        notes.release().expect("nothing to remove");
        let error = anyhow::anyhow!("`mke2fs` failed:\n  no space\n").context("making web");
        notes.fail(&one_line(&error)).expect("fail");
        notes.hold().expect("hold");
        assert_eq!(
            notes.failure().as_deref(),
            Some("making web: `mke2fs` failed: no space")
        );
        assert!(notes.is_held() && !notes.has_run());
        notes.succeed().expect("succeed");
        assert!(notes.has_run());
        notes.forget().expect("forget");
        assert!(!notes.has_run());
        notes.release().expect("release");
        assert_eq!((notes.failure(), notes.is_held()), (None, false));
    }
}
