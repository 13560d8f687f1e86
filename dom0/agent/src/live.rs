// SPDX-License-Identifier: GPL-3.0-or-later
//! Taking a commit while the host runs: `/etc`, `/config`, and what is run so that services see it.
//! Whoever is killed in between leaves a host that works, and does it again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use domus_model::boot::{StatementNote, composed};
use domus_model::changes::{Changes, Deed, Now, Observed, live};
use domus_model::etc;
use domus_model::fleet::Policy;
use domus_model::names::Name;
use domus_repo::{Export, Judge, Repo, Statement};
use domus_system::atomic::{PendingDir, TEMPORARY};
use domus_system::layers::{self, Source};
use domus_system::live_etc;
use domus_system::mount::Replaced;
use domus_system::systemd;
use serde::Serialize;
use tempfile::TempDir;

use crate::Refused;
use crate::config_disk;
use crate::context::Context;
use crate::follow;
use crate::notes::{Notes, one_line};
use crate::taken::Taken;
use crate::warn;

/// Something that was run in dom0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ran {
    /// The command line.
    pub(crate) command: String,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
}

/// The commit that the host boots next, if that is another than `context` is at.
///
/// # Errors
/// The repository is damaged.
pub(crate) fn booted_next(context: &Context) -> Result<Option<String>> {
    if !context.paths.repo().is_dir() {
        return Ok(None);
    }
    let repo = Repo::open(&context.paths.repo())?;
    let commit = repo.statement(&repo.running()?)?.commit.id;
    Ok(Some(commit).filter(|commit| *commit != context.commit))
}

/// What the host is to run in place of what it does.
pub(crate) struct Next {
    judge: Judge,
    statement: Statement,
    note: StatementNote,
}

/// What the host boots next, if that is another commit than `context` is at and may be run.
///
/// # Errors
/// The repository is damaged, or nobody who may has signed it.
pub(crate) fn next(context: &Context) -> Result<Option<Next>> {
    if booted_next(context)?.is_none() {
        return Ok(None);
    }
    let repo = Repo::open(&context.paths.repo())?;
    let judge = follow::judge(context, &repo)?;
    let statement = repo.statement(&repo.running()?)?;
    let refuse = |why: anyhow::Error| Refused(format!("what shall run is not taken: {why:#}"));
    let note = judge.judge(&repo, &statement).map_err(refuse)?;
    Ok(Some(Next {
        judge,
        statement,
        note,
    }))
}

impl Next {
    /// The host as it says, with its part of the commit in `slice`.
    ///
    /// # Errors
    /// As [`export`]; or hosts follow something else.
    pub(crate) fn export(&self, context: &Context, slice: &Path) -> Result<Context> {
        self.fit(export(context, &self.statement.commit.id, slice)?)
    }

    /// As [`Next::export`], to where it stays as long as something runs from it.
    ///
    /// # Errors
    /// As [`Next::export`].
    pub(crate) fn keep(&self, context: &Context) -> Result<Context> {
        self.fit(keep(context, &self.statement.commit.id)?)
    }

    fn fit(&self, next: Context) -> Result<Context> {
        self.judge.ensure_fits(&self.statement, &next.wanted)?;
        let statement = self.note.clone();
        Ok(Context { statement, ..next })
    }
}

/// What the commit that the host boots next says of taking it, if there is another.
///
/// # Errors
/// As [`next`] and [`export`].
pub(crate) fn policy(context: &Context) -> Result<Option<Policy>> {
    let Some(next) = next(context)? else {
        return Ok(None);
    };
    let slice = TempDir::new_in(context.paths.ram()).context("making a directory in RAM")?;
    let next = next.export(context, slice.path())?;
    Ok(Some(
        next.wanted
            .config
            .map(|config| config.apply)
            .unwrap_or_default(),
    ))
}

/// The host at `commit`, its part of which is exported to `slice` and proved.
///
/// # Errors
/// The commit does not prove, or RAM is full.
pub(crate) fn export(context: &Context, commit: &str, slice: &Path) -> Result<Context> {
    let repo = Repo::open(&context.paths.repo())?;
    Export::new(&repo, commit)?.slice(&context.host.name, slice)?;
    context.at(commit, slice)
}

/// As [`export`], to where it stays as long as something runs from it.
///
/// # Errors
/// As [`export`].
pub(crate) fn keep(context: &Context, commit: &str) -> Result<Context> {
    let known = context.at_known(commit);
    if known.is_ok() {
        return known;
    }
    let pending = PendingDir::new(&context.paths.commits().join(commit))?;
    export(context, commit, pending.path())?;
    pending.commit()?;
    context.at_known(commit)
}

/// All that differs between what runs and what `next` wants. `running`: the domUs that run.
///
/// # Errors
/// A commit that something runs from cannot be read.
pub(crate) fn changes(
    context: &Context,
    next: &Context,
    running: &BTreeSet<Name>,
    observed: &Observed,
) -> Result<Changes> {
    let booted = context.at_known(&context.booted)?;
    let mut started: Vec<(Context, BTreeSet<Name>)> = Vec::new();
    for name in running {
        let commit = started_from(context, name);
        match started.iter_mut().find(|(from, _)| from.commit == commit) {
            Some((_, names)) => drop(names.insert(name.clone())),
            None => started.push((keep(context, &commit)?, [name.clone()].into())),
        }
    }
    let started = started.iter();
    let now = Now {
        booted: booted.side(),
        applied: context.side(),
        started: started
            .map(|(from, names)| (from.side(), names.clone()))
            .collect(),
    };
    Ok(live(&now, next.side(), observed))
}

/// The commit that a domU was started from. One without a note was started by whoever made none,
/// which was at boot.
fn started_from(context: &Context, name: &Name) -> String {
    let commit = Notes::on(&context.paths, name).record().commit;
    commit.unwrap_or_else(|| context.booted.clone())
}

/// Puts `/etc` and `/config` of `next` in place of those that are there, and writes down what is to
/// be run then. `conflicts`: files that were changed on the host and by the commit; those in
/// `overruled` are the commit's.
///
/// # Errors
/// Something cannot be composed, mounted or written.
pub(crate) fn take(
    next: &Context,
    conflicts: &BTreeSet<String>,
    overruled: &BTreeSet<String>,
    run: &[Deed],
) -> Result<Taken> {
    let doing = || format!("taking {} live", next.commit);
    let has_hosts = next.slice.join("global/hosts").is_file();
    let generated = etc::for_host(&next.wanted, &next.host, has_hosts);
    let lay = |image: &Path, to: &Path| {
        let source = Source {
            image,
            tree: &next.slice,
            generated: &generated,
            layers: &next.host.layers,
            secret: &|layer, path| config_disk::open(next, &layer.files[path].source),
        };
        layers::lay(&source, to)
    };
    let switched = live_etc::replace(&next.paths.etc(), lay, overruled).with_context(doing)?;
    if switched.before == Replaced::Beneath {
        let error = anyhow!("this kernel cannot take the old /etc away: it stays beneath");
        warn(&error.context("RAM that it has is free after the next boot"));
    }
    let mut problems = switched.problems;
    problems.extend(next.warnings.iter().cloned());
    bind_config(next).with_context(doing)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let taken = Taken {
        commit: next.commit.clone(),
        statement: Some(next.statement.clone()),
        at: since.map_or(0, |since| since.as_secs()),
        layers: composed(&generated, &next.host.layers),
        problems,
        kept: conflicts.difference(overruled).cloned().collect(),
        left: run.to_vec(),
    };
    taken.write(&next.paths)?;
    Ok(taken)
}

/// Puts the trees of `next` at `/config/local` and `/config/global`.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn bind_config(next: &Context) -> Result<()> {
    let own = format!("pservers/{}", next.host.name);
    live_etc::bind_config(&next.slice, &own, &next.paths.config())
}

/// Runs what is to be run, each whatever became of those before it, and writes down what failed.
///
/// # Errors
/// The record cannot be written.
pub(crate) fn run(context: &Context, taken: &mut Taken) -> Result<Vec<Ran>> {
    let (mut ran, mut failed) = (Vec::new(), Vec::new());
    for deed in std::mem::take(&mut taken.left) {
        let result = systemd::run(&deed);
        ran.push(Ran {
            command: deed.to_string(),
            failure: result.as_ref().err().map(one_line),
        });
        if result.is_err() {
            failed.push(deed);
        }
    }
    taken.left = failed;
    taken.write(&context.paths)?;
    Ok(ran)
}

/// Removes what is in RAM of commits that nothing runs from any more. What cannot be removed costs
/// RAM and holds up nobody.
pub(crate) fn clear(context: &Context) {
    // Whether they run does not matter: a guest that restarts itself has no domain for a moment.
    let domus = fs::read_dir(context.paths.domus()).into_iter().flatten();
    let names = domus.flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.to_str()?.parse().ok());
    let used: BTreeSet<String> = names
        .map(|name| started_from(context, &name))
        .chain([context.commit.clone()])
        .collect();
    let entries = fs::read_dir(context.paths.commits()).into_iter().flatten();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(TEMPORARY) || !used.contains(&name) {
            let removed = fs::remove_dir_all(entry.path());
            let path = entry.path();
            if let Err(error) = removed.with_context(|| format!("removing {}", path.display())) {
                warn(&error);
            }
        }
    }
    if let Err(error) = live_etc::clear(&context.paths.etc()) {
        warn(&error.context("removing what a former /etc was made of"));
    }
}
