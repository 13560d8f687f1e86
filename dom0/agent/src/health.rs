// SPDX-License-Identifier: GPL-3.0-or-later
//! Health: whether this host keeps the generation that it runs. One on trial that is not healthy
//! in time is left, without a reboot where that can be.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use domus_model::changes::{Observed, Subject, changes};
use domus_model::names::Name;
use domus_model::status::{State, short};
use domus_model::table::table;
use domus_model::trial::{JUDGED, TRIAL, Trial};
use domus_repo::Repo;
use domus_system::atomic;
use domus_system::program::Program;
use serde::Serialize;
use tempfile::TempDir;

use crate::apply;
use crate::context::Context;
use crate::live;
use crate::lookout::Lookout;
use crate::notes::one_line;
use crate::observe::{Domains, Observer};
use crate::pace;
use crate::paths::Paths;
use crate::pull;
use crate::slots;
use crate::status;
use crate::steps::Wish;
use crate::warn;

/// How often the host is looked at until it is healthy.
const LOOK: Duration = Duration::from_secs(2);
/// How long a command of `[health]` may take.
const LIMIT: &str = "60";
/// The service that judges.
const SERVICE: &str = "domus-health.service";

/// How this host is.
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    host: Name,
    commit: String,
    healthy: bool,
    /// Whether the host would go back from what runs if it does not get healthy.
    on_trial: bool,
    checks: Vec<Check>,
}

/// One thing that has to be so.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    healthy: bool,
    /// Why it is not.
    reason: Option<String>,
}

impl Check {
    fn new(what: impl Into<String>, result: Result<()>) -> Self {
        Self {
            what: what.into(),
            healthy: result.is_ok(),
            reason: result.err().as_ref().map(one_line),
        }
    }
}

impl Health {
    /// Looks once.
    pub(crate) fn find(context: &Context) -> Self {
        let trial = on_trial(context).unwrap_or_default();
        let release_on_trial = slots::on_trial(context);
        let mut checks = vec![Check::new("its domUs are up", domus_up(context))];
        // A seed is what nobody writes to.
        if context.seed().is_none() {
            let writable = Check::new("/config can be written", writable(&context.paths));
            checks.insert(0, writable);
        }
        // A release may change whatever dom0 needs to reach it.
        let good = trial.as_deref().filter(|_| !release_on_trial);
        if let Some(check) = remote(context, good) {
            checks.push(check);
        }
        for command in &context.host.health.commands {
            checks.push(Check::new(format!("`{command}`"), succeeds(command)));
        }
        Self {
            host: context.host.name.clone(),
            commit: context.commit.clone(),
            healthy: checks.iter().all(|check| check.healthy),
            on_trial: trial.is_some() || release_on_trial,
            checks,
        }
    }

    /// Whether all of it is as it should be.
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let word = if self.healthy {
            "healthy"
        } else {
            "NOT HEALTHY"
        };
        let trial = if self.on_trial { "   on trial" } else { "" };
        let rows = self.checks.iter().map(|check| {
            let reason = check.reason.as_deref().unwrap_or("yes");
            vec![check.what.clone(), reason.to_owned()]
        });
        let (host, commit) = (&self.host, short(&self.commit));
        let rows: Vec<Vec<String>> = rows.collect();
        format!(
            "{host}   commit {commit}   {word}{trial}\n\n{}",
            table(&["what", "is it so"], &rows)
        )
    }

    /// What is not as it should be, in one line.
    fn reasons(&self) -> String {
        let bad = self.checks.iter().filter(|check| !check.healthy);
        let reasons = bad.map(|check| match &check.reason {
            Some(reason) => format!("not so: {} ({reason})", check.what),
            None => format!("not so: {}", check.what),
        });
        reasons.collect::<Vec<_>>().join("; ")
    }
}

/// What the host goes back to if what runs does not get healthy; nothing if it stays whatever
/// happens.
fn on_trial(context: &Context) -> Result<Option<String>> {
    if !context.paths.repo().is_dir() {
        return Ok(None);
    }
    let good = Repo::open(&context.paths.repo())?.good()?;
    Ok(good.filter(|good| *good != context.statement.id))
}

fn writable(paths: &Paths) -> Result<()> {
    // A file system that an error made read-only says so only when it is written.
    let probe = paths.at(TRIAL).with_file_name("probe");
    atomic::write(&probe, b"", 0o644)?;
    fs::remove_file(&probe).with_context(|| format!("removing {}", probe.display()))
}

fn domus_up(context: &Context) -> Result<()> {
    let mut observer = Observer::new(context);
    let running = observer.running()?;
    let domus = status::domus(context, &mut observer, &Domains::known(running))?;
    // Those that are stopped are so because somebody wants it.
    let down = domus
        .into_iter()
        .filter(|domu| !matches!(domu.state, State::Up | State::Stopped));
    let down: Vec<String> = down
        .map(|domu| match domu.reason {
            Some(reason) => format!("{}: {reason}", domu.name),
            None => format!("{} is not", domu.name),
        })
        .collect();
    anyhow::ensure!(down.is_empty(), "{}", down.join(", "));
    Ok(())
}

/// Whether the fleet's repository can be reached, if it could before. Where the generation on
/// trial changes nothing of dom0 itself, that it cannot is not its fault.
fn remote(context: &Context, good: Option<&str>) -> Option<Check> {
    let config = context.wanted.config.as_ref()?;
    if !context.paths.remote_reached().exists() {
        return None;
    }
    let is_its_own = good.is_none_or(|good| changes_dom0(context, good).unwrap_or(true));
    let reached = || Repo::open(&context.paths.repo())?.reach(&pull::remote(context, config));
    is_its_own.then(|| Check::new(format!("{} is there", config.remote), reached()))
}

/// Whether what runs differs from `good` in more than domUs.
fn changes_dom0(context: &Context, good: &str) -> Result<bool> {
    let commit = Repo::open(&context.paths.repo())?
        .statement(good)?
        .commit
        .id;
    let slice = TempDir::new_in(context.paths.ram()).context("making a directory in RAM")?;
    let good = live::export(context, &commit, slice.path())?;
    let changes = changes(good.side(), context.side(), &Observed::default());
    let mut steps = changes.steps.iter();
    Ok(steps.any(|step| step.subject == Subject::Host))
}

fn succeeds(command: &str) -> Result<()> {
    Program::new("timeout")
        .args([LIMIT, "sh", "-c", command])
        .run()
}

/// Notes that the fleet's repository could be reached: from now on it counts.
pub(crate) fn note_reached(context: &Context) {
    let place = context.paths.remote_reached();
    if !place.exists()
        && let Err(error) = atomic::write(&place, b"", 0o644)
    {
        warn(&error);
    }
}

/// Lets the service judge what was just taken.
pub(crate) fn judge_anew() {
    let restart = ["--no-block", "restart", SERVICE];
    if let Err(error) = Program::new("systemctl").args(restart).run() {
        warn(&error.context("letting what was taken be judged"));
    }
}

/// What came of judging.
pub(crate) enum Verdict {
    /// Healthy.
    Kept(Health),
    /// Not in time; what runs stays, for there is nothing to go back to.
    Stays(Health),
    /// Not in time; the host went back.
    Left(String),
}

/// Waits until the host is healthy, or its time is over, and does what follows.
///
/// # Errors
/// The config partition cannot be written.
pub(crate) fn judge(context: &Context) -> Result<Verdict> {
    let limit = context.host.health.deadline.duration();
    let begin = Instant::now();
    let left = || limit.saturating_sub(begin.elapsed());
    let (mut observer, mut lookout) = (Observer::new(context), Lookout::new());
    loop {
        let look = Instant::now();
        // All else need not be looked at before domUs are there: git and libvirt would take the time
        // that these need to start.
        if !left().is_zero() && !status::are_settled(context, &mut observer, &mut lookout) {
            lookout.rest(context, &mut observer, look, left());
            continue;
        }
        let context = &context.again()?;
        let health = Health::find(context);
        if health.is_healthy() {
            keep(context)?;
            return Ok(Verdict::Kept(health));
        }
        if left().is_zero() {
            // A commit that is on trial as well is judged with the other release.
            if slots::on_trial(context) {
                return slots::leave(context, &health.reasons()).map(Verdict::Left);
            }
            return match on_trial(context)? {
                None => {
                    judged(context)?;
                    Ok(Verdict::Stays(health))
                }
                Some(good) => leave(context, &good, &health).map(Verdict::Left),
            };
        }
        pace::rest(look, LOOK, left());
    }
}

/// The guard need not wait any longer.
fn judged(context: &Context) -> Result<()> {
    atomic::write(&context.paths.at(JUDGED), b"", 0o644)
}

/// Keeps what runs: from now on the host goes back to it. What was never booted is not known to
/// boot; it is judged once more when it was.
fn keep(context: &Context) -> Result<()> {
    slots::keep(context)?;
    let statement = &context.statement.id;
    let is_kept = context.paths.repo().is_dir() && context.seed().is_none();
    if *statement == context.booted_by && is_kept {
        let (_lock, repo) = context.repository()?;
        repo.mark_good(statement)?;
        let place = context.paths.at(TRIAL);
        if noted(&context.paths).is_some_and(|trial| trial.statement == *statement) {
            fs::remove_file(&place).with_context(|| format!("removing {}", place.display()))?;
        }
    }
    judged(context)
}

/// Leaves what runs for what was healthy last: at once where that needs no reboot.
fn leave(context: &Context, good: &str, health: &Health) -> Result<String> {
    let statement = &context.statement.id;
    let reasons = health.reasons();
    let mut trial = noted(&context.paths)
        .filter(|trial| trial.statement == *statement)
        .unwrap_or_else(|| Trial::new(statement));
    trial.failure = Some(reasons.clone());
    atomic::write(
        &context.paths.at(TRIAL),
        &serde_json::to_vec(&trial)?,
        0o644,
    )?;
    {
        let (_lock, repo) = context.repository()?;
        repo.leave(statement, good)?;
    }
    let wish = Wish {
        restart: true,
        ..Wish::default()
    };
    let how = match apply::apply(context, &wish, true) {
        Ok(applied) if applied.is_clean() && applied.reboot.is_empty() => {
            judged(context)?;
            "without a reboot"
        }
        other => {
            if let Err(error) = other {
                warn(&error.context("going back without a reboot"));
            }
            slots::reboot()?;
            "by a reboot"
        }
    };
    let (host, from, to) = (&context.host.name, short(statement), short(good));
    Ok(format!(
        "{host}   WENT BACK from {from} to {to} {how}: {reasons}\n"
    ))
}

/// What is known of the generation on trial.
fn noted(paths: &Paths) -> Option<Trial> {
    let place = paths.at(TRIAL);
    let read = || -> Result<Option<Trial>> {
        match fs::read(&place) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    read().unwrap_or_else(|error| {
        warn(&error.context(format!("reading {}", place.display())));
        None
    })
}

/// How the host stands: a generation that is on trial, or one that it left.
pub(crate) fn standing_line(context: &Context) -> Option<String> {
    if let Some(trial) = noted(&context.paths)
        && let Some(why) = trial.failure
    {
        let held = || Repo::open(&context.paths.repo())?.held();
        let is_held = held().is_ok_and(|held| held == Some(trial.statement.clone()));
        if is_held {
            let left = short(&trial.statement);
            return Some(format!(
                "went back from {left}: {why}; a newer one is taken"
            ));
        }
    }
    let is_judged = Path::new(&context.paths.at(JUDGED)).exists();
    let deadline = context.host.health.deadline;
    match on_trial(context) {
        Ok(Some(_)) if !is_judged => Some(format!(
            "on trial: it has {deadline} to get healthy, or the host goes back"
        )),
        Ok(Some(_)) => Some("healthy, and still to be booted".to_owned()),
        _ => None,
    }
}
