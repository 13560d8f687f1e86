// SPDX-License-Identifier: GPL-3.0-or-later
//! What is remembered about a domU until the next boot, in RAM: how it fared, that an operator
//! stopped it, that one asked for it. It outlives the agent.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Error, Result};
use domus_model::names::Name;
use domus_model::reconcile::Record;
use domus_system::atomic;
use domus_system::flock::{Share, try_lock};

use crate::paths::Paths;
use crate::warn;

const RECORD: &str = "record.json";
const HELD: &str = "held";
const ASKED: &str = "asked";
const TURN: &str = "turn";

/// The notes on one domU.
pub(crate) struct Notes {
    dir: PathBuf,
}

/// Whoever has it makes the domU's domain, or changes how it is said to have fared; the kernel
/// takes it from a process that ends.
#[derive(Debug)]
pub(crate) struct Turn {
    _file: File,
}

impl Notes {
    pub(crate) fn on(paths: &Paths, name: &Name) -> Self {
        Self {
            dir: paths.domu(name),
        }
    }

    /// Takes the turn, unless somebody else has it.
    pub(crate) fn turn(&self) -> Result<Option<Turn>> {
        let file = try_lock(&self.dir.join(TURN), Share::Alone)?;
        Ok(file.map(|file| Turn { _file: file }))
    }

    /// How it fared. Nothing is known of one whose record cannot be read.
    pub(crate) fn record(&self) -> Record {
        let path = self.dir.join(RECORD);
        let doing = || format!("reading {}", path.display());
        let read = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Record::default(),
            read => read.with_context(doing),
        };
        let record = read.and_then(|text| serde_json::from_slice(&text).with_context(doing));
        record.unwrap_or_else(|error| {
            warn(&error);
            Record::default()
        })
    }

    /// Remembers how it fared.
    pub(crate) fn keep(&self, record: &Record) -> Result<()> {
        atomic::write(&self.dir.join(RECORD), &serde_json::to_vec(record)?, 0o644)
    }

    /// Forgets how it fared, and that it ran; not that something may be left of an attempt.
    pub(crate) fn forget(&self) -> Result<()> {
        let attempted = self.record().attempted;
        if !attempted {
            return self.remove(RECORD);
        }
        self.keep(&Record {
            attempted,
            ..Record::default()
        })
    }

    /// Whether an operator stopped it.
    pub(crate) fn is_held(&self) -> bool {
        self.dir.join(HELD).exists()
    }

    /// Remembers that an operator stopped it.
    pub(crate) fn hold(&self) -> Result<()> {
        self.remove(ASKED)?;
        atomic::write(&self.dir.join(HELD), b"", 0o644)
    }

    /// Whether an operator asked for it, should it not start by itself.
    pub(crate) fn is_asked(&self) -> bool {
        self.dir.join(ASKED).exists()
    }

    /// Lets it be started, at once and whatever it did before.
    pub(crate) fn ask(&self) -> Result<()> {
        self.remove(HELD)?;
        atomic::write(&self.dir.join(ASKED), b"", 0o644)?;
        let mut record = self.record();
        record.forgive();
        self.keep(&record)
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
        assert_eq!(
            (notes.record(), notes.is_held()),
            (Record::default(), false)
        );
        let error = anyhow::anyhow!("`mke2fs` failed:\n  no space\n").context("making web");
        let mut record = Record::default();
        record.begin("8c1d02e");
        record.fail(one_line(&error), 7);
        notes.keep(&record).expect("keep");
        assert_eq!(notes.record(), record);
        let down = record.down.clone().expect("down");
        assert_eq!(down.reason, "making web: `mke2fs` failed: no space");
        notes.hold().expect("hold");
        assert!(notes.is_held() && !notes.is_asked());
        notes.ask().expect("ask");
        assert!(!notes.is_held() && notes.is_asked());
        assert_eq!(notes.record().down, None, "it is tried at once");
        notes.forget().expect("forget");
        let left = notes.record();
        assert!(left.attempted && left.commit.is_none(), "{left:?}");
        record.clear();
        notes.keep(&record).expect("keep");
        notes.forget().expect("forget");
        notes.forget().expect("nothing to forget");
        assert_eq!(notes.record(), Record::default());
    }

    #[test]
    fn what_cannot_be_read_is_as_if_nothing_were_known() {
        let dir = tempfile::tempdir().expect("dir");
        let notes = Notes::on(&Paths::below(dir.path()), &"web".parse().expect("name"));
        notes.hold().expect("hold");
        fs::write(notes.dir.join(RECORD), "{\"run\": 7").expect("write");
        assert_eq!(notes.record(), Record::default());
    }

    #[test]
    fn one_has_the_turn_at_a_time() {
        let dir = tempfile::tempdir().expect("dir");
        let notes = Notes::on(&Paths::below(dir.path()), &"web".parse().expect("name"));
        let turn = notes.turn().expect("turn");
        assert!(turn.is_some() && notes.turn().expect("turn").is_none());
        drop(turn);
        assert!(notes.turn().expect("turn").is_some());
    }
}
