// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of what was fetched this host takes: the head of a branch that comes after what it has, or
//! the newest target that is for it. Nothing that was fetched decides who may have signed it.

use anyhow::{Result, bail};
use domus_model::boot::StatementNote;
use domus_model::fleet::Follow;
use domus_model::status::short;
use domus_model::trust::Target;
use domus_repo::{Export, Judge, Repo, Statement};

use crate::Refused;
use crate::context::Context;

/// How many targets are looked at for one that is for this host.
const MOST_TARGETS: usize = 10_000;

/// What a fetch comes to.
pub(crate) enum Found {
    /// There is something to take.
    New(Box<Statement>, StatementNote),
    /// There is nothing, and why.
    Nothing(String),
}

/// Looks what to take of what was fetched, and notes what was seen of it.
///
/// # Errors
/// It is refused.
pub(crate) fn find(
    context: &Context,
    repo: &Repo,
    fetched: Statement,
    follow: &Follow,
) -> Result<Found> {
    let mut judge = judge(context, repo)?;
    let note = judge.judge(repo, &fetched).or_else(refuse)?;
    // From now on what it says of keys counts, also for targets before it.
    judge.learn(repo, &fetched.id)?;
    let running = repo.statement(&repo.running()?)?;
    let found = match follow {
        Follow::Branch(_) => next_commit(context, repo, fetched, &running, note)?,
        Follow::Targets => next_target(context, repo, fetched, &running, &judge)?,
    };
    let Found::New(statement, _) = &found else {
        return Ok(found);
    };
    match repo.held()?.is_some_and(|held| held == statement.id) {
        true => nothing("held: somebody went back from it; a newer one is taken again"),
        false => Ok(found),
    }
}

/// What this host believes: what its release does, and what followed from that since.
///
/// # Errors
/// No release booted it, or what it has seen is damaged.
pub(crate) fn judge(context: &Context, repo: &Repo) -> Result<Judge> {
    let Some(release) = &context.identity else {
        return refuse("no release booted this machine, so nobody says what it may run");
    };
    let mut judge = Judge::new(release)?;
    if let Some(seen) = repo.seen()? {
        judge.learn(repo, &seen)?;
    }
    Ok(judge)
}

fn next_commit(
    context: &Context,
    repo: &Repo,
    fetched: Statement,
    running: &Statement,
    note: StatementNote,
) -> Result<Found> {
    if fetched.target.is_some() {
        return refuse("the branch has a target where a commit of the fleet should be");
    }
    let (to, from) = (&fetched.commit.id, &running.commit.id);
    if to != from && !repo.descends(to, from)? {
        let config = context.wanted.config.as_ref();
        let (branch, remote) = config
            .map(|it| (it.follow.to_string(), it.remote.as_str()))
            .unwrap_or_default();
        return refuse(format!(
            "{branch} of {remote} is at {}, which does not come after {}: it was rewound, or is \
             another history; push a commit that does",
            short(to),
            short(from),
        ));
    }
    repo.note_seen(&fetched.id)?;
    match to == from {
        true => nothing("nothing new"),
        false => Ok(Found::New(Box::new(fetched), note)),
    }
}

fn next_target(
    context: &Context,
    repo: &Repo,
    fetched: Statement,
    running: &Statement,
    judge: &Judge,
) -> Result<Found> {
    ensure_newer(repo, &fetched)?;
    repo.note_seen(&fetched.id)?;
    let least = running.target.as_ref().map_or(0, |target| target.serial);
    let mut statement = fetched;
    for _ in 0..MOST_TARGETS {
        let target = target_of(&statement)?;
        if target.serial <= least {
            return nothing("nothing new");
        }
        if is_for(context, repo, &statement, target)? {
            let note = judge.judge(repo, &statement).or_else(refuse)?;
            let (version, id) = context.release_id();
            target
                .ensure_release(version, id)
                .or_else(|why| refuse(format!("the target {} {why}", target.serial)))?;
            return Ok(Found::New(Box::new(statement), note));
        }
        match repo.target_before(&statement)? {
            Some(before) if target_of(&before)?.serial < target.serial => statement = before,
            Some(_) => {
                return refuse(format!(
                    "the target before {} has no lower serial: look at `git log refs/domus/targets` on \
                 the server",
                    target.serial
                ));
            }
            None => return nothing("no target is for this host"),
        }
    }
    nothing("none of the newest targets is for this host")
}

/// Makes sure that a target is not older than the newest that was seen.
fn ensure_newer(repo: &Repo, fetched: &Statement) -> Result<()> {
    let serial = target_of(fetched)?.serial;
    let Some(seen) = repo.seen()? else {
        return Ok(());
    };
    let known = repo.statement(&seen)?.target.map_or(0, |it| it.serial);
    if serial < known {
        return refuse(format!(
            "the newest target is {serial}, and {known} was seen before: an old one was replayed, \
             or somebody set the targets back; publish one with a higher serial"
        ));
    }
    match serial == known && fetched.id != seen {
        true => refuse(format!(
            "there are two targets {serial}, and they differ: somebody published beside somebody \
             else; publish one with a higher serial"
        )),
        false => Ok(()),
    }
}

fn target_of(statement: &Statement) -> Result<&Target> {
    match &statement.target {
        Some(target) => Ok(target),
        None => refuse(format!(
            "there is a commit ({}) where a target should be: that it is signed says nothing of \
             whether hosts shall run it",
            short(&statement.id)
        )),
    }
}

fn is_for(context: &Context, repo: &Repo, statement: &Statement, target: &Target) -> Result<bool> {
    let host = &context.host.name;
    let groups = Export::new(repo, &statement.commit.id)?.groups_of(host)?;
    Ok(target.selects(host, &groups))
}

fn nothing(why: &str) -> Result<Found> {
    Ok(Found::Nothing(why.to_owned()))
}

fn refuse<T>(why: impl std::fmt::Display) -> Result<T> {
    bail!(Refused(format!("{why:#}")))
}
