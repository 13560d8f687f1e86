// SPDX-License-Identifier: GPL-3.0-or-later
//! What is remembered of a domU from one look to the next, until the host boots: how it fared.

use serde::{Deserialize, Serialize};

/// Seconds since the machine booted: whoever sets the clock does not move it.
pub type Moment = u64;

/// A domU that was up for so long has started well: what it did before is forgotten. In seconds.
pub const SOUND: u64 = 600;

/// What is remembered of one domU. A document of its host, which outlives the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The commit that it was started from last.
    pub commit: Option<String>,
    /// Whether somebody began to make its domain, and nobody knows yet what came of that.
    pub making: bool,
    /// Whether something of a domain may be left of an attempt to make it: nobody has seen it run since.
    pub attempted: bool,
    /// The domain that it runs in, as far as is known.
    pub run: Option<Run>,
    /// How often in a row it ended by itself.
    pub falls: u32,
    /// How often in a row it could not be started.
    pub failures: u32,
    /// Why it does not run.
    pub down: Option<Down>,
    /// What it said last before it fell; what else it does by now does not hide that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_words: Option<LastWords>,
}

/// What a guest said last on its console before it fell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords {
    /// The number of the domain that it fell in.
    pub domain: u32,
    /// Its last lines, few and short ([`crate::console_log::last_lines`]).
    pub lines: Vec<String>,
}

/// A domain that a domU runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: u32,
    /// When it was seen first.
    pub since: Moment,
    /// When the guest was first heard to be up.
    pub up: Option<Moment>,
}

/// How a domU that was not stopped came not to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// Since when.
    pub at: Moment,
    /// What happened.
    pub how: How,
    /// In words.
    pub reason: String,
}

/// What happened to a domU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It could not be started.
    Failed,
    /// It was shut down from inside.
    ShutDown,
    /// It crashed, or ended while nobody looked.
    Crashed,
}

impl Record {
    /// Somebody begins to make its domain, from this commit.
    pub fn begin(&mut self, commit: &str) {
        self.commit = Some(commit.to_owned());
        self.making = true;
        self.attempted = true;
    }

    /// Its domain was made.
    pub fn succeed(&mut self, id: u32, now: Moment) {
        self.is_made();
        self.enter(id, now);
    }

    /// It could not be made.
    pub fn fail(&mut self, reason: String, now: Moment) {
        self.making = false;
        self.failures = self.failures.saturating_add(1);
        self.down = Some(Down {
            at: now,
            how: How::Failed,
            reason,
        });
    }

    /// It runs in the domain `id`, and is up or not yet. A domain with another number is another
    /// run: the guest restarted itself.
    pub fn runs(&mut self, id: u32, is_up: bool, now: Moment) {
        if self.run.as_ref().is_none_or(|run| run.id != id) {
            if let Some(before) = self.run.take() {
                self.count(&before, now);
            }
            self.enter(id, now);
        }
        if let Some(run) = &mut self.run {
            if is_up && run.up.is_none() {
                run.up = Some(now);
            }
            if is_sound(run, now) {
                self.falls = 0;
                self.last_words = None;
            }
        }
        self.is_made();
    }

    /// It does not run. That it did is how one knows that it ended, and `how` it did if somebody
    /// saw that.
    pub fn is_gone(&mut self, how: Option<How>, now: Moment) {
        let Some(run) = self.run.take() else { return };
        self.count(&run, now);
        let reason = match how {
            Some(How::ShutDown) => "it was shut down from inside",
            Some(_) => "it crashed",
            None => "it ended by itself: it crashed, or was shut down from inside",
        };
        self.down = Some(Down {
            at: now,
            how: how.unwrap_or(How::Crashed),
            reason: reason.to_owned(),
        });
    }

    /// What there was of an attempt to make its domain is gone.
    pub fn clear(&mut self) {
        self.making = false;
        self.attempted = false;
    }

    /// Somebody stops it, or wants it tried again: how it fared is forgotten, but not what may be left.
    pub fn forgive(&mut self) {
        self.falls = 0;
        self.failures = 0;
        self.down = None;
        self.last_words = None;
    }

    fn is_made(&mut self) {
        self.clear();
        self.failures = 0;
        self.down = None;
    }

    fn enter(&mut self, id: u32, now: Moment) {
        if self.run.as_ref().is_none_or(|run| run.id != id) {
            self.run = Some(Run {
                id,
                since: now,
                up: None,
            });
        }
    }

    fn count(&mut self, run: &Run, now: Moment) {
        if is_sound(run, now) {
            self.falls = 0;
        }
        self.falls = self.falls.saturating_add(1);
    }
}

fn is_sound(run: &Run, now: Moment) -> bool {
    run.up.is_some_and(|up| now.saturating_sub(up) >= SOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_comes_up_and_ends() {
        let mut record = Record::default();
        record.begin("8c1d02e");
        assert!(record.making);
        record.succeed(7, 100);
        record.runs(7, false, 101);
        assert_eq!(record.run.as_ref().expect("run").up, None);
        record.runs(7, true, 110);
        record.runs(7, true, 120);
        let run = Run {
            id: 7,
            since: 100,
            up: Some(110),
        };
        assert_eq!(record.run, Some(run));
        record.is_gone(Some(How::ShutDown), 130);
        let down = record.down.clone().expect("down");
        assert_eq!((down.at, down.how, record.falls), (130, How::ShutDown, 1));
        record.is_gone(None, 140);
        assert_eq!(record.down, Some(down), "it ended once");
        assert_eq!(record.commit.as_deref(), Some("8c1d02e"));
    }

    #[test]
    fn falls_in_a_row_are_counted_until_it_was_up_for_long() {
        let mut record = Record::default();
        for (id, now) in [(1, 0), (2, 20)] {
            record.succeed(id, now);
            record.runs(id, true, now + 10);
            record.is_gone(None, now + 15);
        }
        assert_eq!(record.falls, 2);
        record.succeed(3, 40);
        record.runs(3, true, 50);
        record.is_gone(None, 50 + SOUND);
        assert_eq!(record.falls, 1, "the ones before are long ago");
        record.succeed(4, 700);
        record.runs(4, true, 710);
        record.runs(4, true, 710 + SOUND);
        assert_eq!(record.falls, 0);
    }

    #[test]
    fn a_guest_that_restarts_itself_falls() {
        let mut record = Record::default();
        record.succeed(1, 0);
        record.runs(2, false, 10);
        record.runs(3, false, 20);
        assert_eq!(record.falls, 2);
        assert_eq!(record.run.as_ref().expect("run").since, 20);
        assert_eq!(record.down, None);
    }

    #[test]
    fn failures_in_a_row_are_counted_until_it_runs_or_somebody_forgives() {
        let mut record = Record::default();
        for failures in 1..=2 {
            record.begin("c");
            record.fail("no image".into(), 5);
            assert_eq!((record.failures, record.making), (failures, false));
        }
        let mut forgiven = record.clone();
        forgiven.forgive();
        assert_eq!((forgiven.failures, &forgiven.down), (0, &None));
        assert!(forgiven.attempted, "something may be left all the same");
        record.runs(4, false, 6);
        assert!(!record.attempted);
        assert_eq!((record.failures, record.down), (0, None));
    }
}
