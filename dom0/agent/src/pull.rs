// SPDX-License-Identifier: GPL-3.0-or-later
//! Taking a new commit: fetch, prove this host's part, keep it as the next generation. Whatever
//! goes wrong, the host goes on with what it has, and says why.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use domus_model::boot::StatementNote;
use domus_model::changes::{Changes, Observed, changes};
use domus_model::fleet::Config;
use domus_model::status::short;
use domus_repo::{Commit, Remote, Repo};
use domus_system::atomic;
use serde::{Deserialize, Serialize};

use crate::applied::Applied;
use crate::context::Context;
use crate::follow::{self, Found};
use crate::health;
use crate::live;
use crate::warn;

/// Most bytes that one pull may bring: it lies on the config partition.
const MOST: usize = 256 << 20;
/// How many generations are kept.
const KEPT: usize = 20;
/// The longest that a timer waits after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What a pull did.
#[derive(Debug, Serialize)]
pub(crate) struct Pulled {
    host: String,
    from: String,
    to: Commit,
    /// What says that the host shall run it; nothing if nothing was taken.
    statement: Option<StatementNote>,
    /// The number of the new generation; none if nothing was taken.
    generation: Option<u32>,
    /// Why nothing was taken, if that is no error.
    reason: Option<String>,
    #[serde(flatten)]
    changes: Changes,
}

/// Fetches what the fleet's hosts follow, and takes it.
///
/// # Errors
/// The remote is not there, or what it has is refused. What runs stays.
pub(crate) fn pull(context: &Context) -> Result<Pulled> {
    let Some(config) = &context.wanted.config else {
        bail!("domus.toml has no [config]: it says where commits come from");
    };
    let (_lock, mut repo) = context.repository()?;
    match repo.repack() {
        Ok(true) => repo = Repo::open(&context.paths.repo())?,
        Ok(false) => {}
        // It grows, and does what it did.
        Err(error) => warn(&error),
    }
    let fetched = repo.fetch(&remote(context, config))?;
    health::note_reached(context);
    let from = repo.statement(&repo.running()?)?.commit.id;
    let to = fetched.commit.clone();
    let pulled = |to, reason| Pulled {
        host: context.host.name.to_string(),
        from,
        to,
        statement: None,
        generation: None,
        reason,
        changes: Changes::default(),
    };
    let (statement, note) = match follow::find(context, &repo, fetched, &config.follow)? {
        Found::New(statement, note) => (statement, note),
        Found::Nothing(reason) => return Ok(pulled(to, Some(reason))),
    };
    let changes = prove(context, &statement.commit.id)?;
    let generation = repo.adopt(&statement.id)?;
    if let Err(error) = repo.prune(KEPT) {
        warn(&error.context("forgetting old generations"));
    }
    Ok(Pulled {
        statement: Some(note),
        generation: Some(generation),
        changes,
        ..pulled(statement.commit, None)
    })
}

/// The repository that hosts pull from.
pub(crate) fn remote<'c>(context: &Context, config: &'c Config) -> Remote<'c> {
    Remote {
        url: &config.remote,
        follow: &config.follow,
        host_key: config.host_key.as_ref(),
        identity: context.paths.key(),
        most: MOST,
    }
}

/// Proves this host's part of a commit, and says what it changes against what runs.
fn prove(context: &Context, commit: &str) -> Result<Changes> {
    let ram = context.paths.ram();
    fs::create_dir_all(&ram).with_context(|| format!("making {}", ram.display()))?;
    let exported = tempfile::tempdir_in(&ram).context("making a directory in RAM")?;
    let to = live::export(context, commit, exported.path())?;
    for warning in &to.warnings {
        warn(&anyhow!("{warning}"));
    }
    let unobserved = Observed::default();
    Ok(changes(context.side(), to.side(), &unobserved))
}

impl Pulled {
    /// Whether there is a new generation.
    pub(crate) fn is_taken(&self) -> bool {
        self.generation.is_some()
    }

    /// One JSON object, with what was done to apply it.
    pub(crate) fn json(&self, applied: Option<&Applied>) -> Result<String> {
        let mut object = serde_json::to_value(self)?;
        object["applied"] = serde_json::to_value(applied)?;
        Ok(serde_json::to_string_pretty(&object)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let (host, from, to) = (&self.host, short(&self.from), short(&self.to.id));
        match (self.generation, &self.reason) {
            (Some(number), _) => format!(
                "{host}   {from} -> {to}   generation {number}   {:?}{}\n{}",
                self.to.summary,
                match &self.statement {
                    Some(note) => format!("   {note}"),
                    None => String::new(),
                },
                self.changes.render(),
            ),
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or_default();
                format!("{host}   {to}   {reason}\n")
            }
        }
    }
}

/// How the last pull went: what a timer goes by, and `status` shows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Last {
    /// When, in seconds since 1970 by the host's clock.
    at: u64,
    /// How many failed since one did not.
    failures: u32,
    /// Why the last one failed.
    pub(crate) error: Option<String>,
}

impl Last {
    /// The last one, if there was one since the boot.
    pub(crate) fn read(context: &Context) -> Self {
        let text = fs::read(context.paths.last_pull()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Whether a timer should leave this one out: each failure doubles the wait.
    pub(crate) fn is_too_early(&self, every: Duration) -> bool {
        let factor = 1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX);
        let wait = every.saturating_mul(factor - 1).min(LONGEST_WAIT);
        // A clock that was set back must not hold it up for ever.
        let since = now().checked_sub(self.at).map(Duration::from_secs);
        since.is_some_and(|since| since < wait)
    }

    /// Notes how one went.
    pub(crate) fn note(context: &Context, result: &Result<Pulled>) {
        let failures = Self::read(context).failures;
        let last = match result {
            Ok(_) => Self {
                at: now(),
                failures: 0,
                error: None,
            },
            Err(error) => Self {
                at: now(),
                failures: failures.saturating_add(1),
                error: Some(crate::notes::one_line(error)),
            },
        };
        let text = serde_json::to_vec(&last).unwrap_or_default();
        if let Err(error) = atomic::write(&context.paths.last_pull(), &text, 0o644) {
            warn(&error);
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_a_timer_wait_longer() {
        let every = Duration::from_secs(300);
        let last = |failures, ago| Last {
            at: now() - ago,
            failures,
            error: None,
        };
        assert!(!Last::default().is_too_early(every));
        assert!(!last(0, 0).is_too_early(every));
        assert!(last(1, 100).is_too_early(every) && !last(1, 301).is_too_early(every));
        assert!(last(2, 800).is_too_early(every) && !last(2, 901).is_too_early(every));
        assert!(last(40, 3500).is_too_early(every) && !last(40, 3601).is_too_early(every));
        let ahead = Last {
            at: now() + 9999,
            ..last(1, 0)
        };
        assert!(!ahead.is_too_early(every), "the clock was set back");
    }
}
