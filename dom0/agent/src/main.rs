// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0`: runs the domUs of a host as its commit wants them, and says how they are.

mod applied;
mod apply;
mod args;
mod config_disk;
mod console_log;
mod context;
mod ears;
mod events;
mod explain;
mod follow;
mod generations;
mod health;
mod heed;
mod image;
mod keep;
mod list;
mod live;
mod lock;
mod logs;
mod lookout;
mod loops;
mod moving;
mod notes;
mod observe;
mod pace;
mod paths;
mod pull;
mod refresh;
mod run;
mod slots;
mod start;
mod status;
mod steps;
mod stop;
mod storage;
mod strays;
mod taken;
mod tune;
mod upgrade;
mod verified;
mod volume;

use std::fmt;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{CommandFactory, Parser};
use domus_model::fleet::Policy;
use domus_model::names::Name;
use domus_model::storage::Standing;
use tempfile::TempDir;

use crate::applied::Applied;
use crate::args::{Args, Command};
use crate::context::Context;
use crate::explain::Explained;
use crate::generations::Generations;
use crate::health::{Health, Verdict};
use crate::list::List;
use crate::observe::Observer;
use crate::pull::Last;
use crate::status::HostStatus;
use crate::steps::{Steps, Wish};
use crate::stop::{Patience, Whom};

const FAILURE: u8 = 1;
const DIFFERENCES: u8 = 2;
const REFUSED: u8 = 3;

/// An error for what is possible and would do harm.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap would end with 2, which means differences here.
            let code = if error.use_stderr() { FAILURE } else { 0 };
            return error.print().map_or(ExitCode::FAILURE, |()| code.into());
        }
    };
    run(&args).unwrap_or_else(|error| {
        eprintln!("domus-dom0: {error:#}");
        if error.is::<Refused>() {
            REFUSED
        } else {
            FAILURE
        }
        .into()
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    if let Command::Completions { shell } = args.command {
        clap_complete::generate(
            shell,
            &mut Args::command(),
            "domus-dom0",
            &mut std::io::stdout(),
        );
        return Ok(ExitCode::SUCCESS);
    }
    let context = Context::load(args)?;
    let seconds = Duration::from_secs;
    match &args.command {
        Command::Apply { json, no_take, .. } => {
            let wish = Wish::of(&args.command);
            said(&apply::apply(&context, &wish, !no_take)?, *json)
        }
        Command::Start { json, .. } | Command::Restart { json, .. } => {
            let wish = Wish::of(&args.command);
            said(&apply::apply(&context, &wish, false)?, *json)
        }
        Command::List { json } => {
            let list = List::find(&context)?;
            show(*json, || list.json(), || list.render())
        }
        Command::Console { name } => console(&context, name),
        Command::Logs {
            name,
            lines,
            follow,
        } => {
            let out = &mut std::io::stdout().lock();
            logs::show(&context, name, *lines, *follow, out).map(|()| ExitCode::SUCCESS)
        }
        Command::Run => run::run(&context).map(|()| ExitCode::SUCCESS),
        Command::Plan { json } => plan(&context, *json),
        Command::Stop {
            names,
            timeout,
            force,
            all,
            strays,
        } => {
            let patience = Patience {
                timeout: timeout.map(seconds),
                force: *force,
            };
            stop::stop(&context, Whom::of(names, *all, *strays), patience)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Depart(args) => depart(&context, args),
        Command::Arrive(args) => arrive(&context, args),
        Command::Status { json, wait } => {
            let status = HostStatus::find(&context, wait.map(seconds))?;
            show(*json, || status.json(), || status.render())
        }
        Command::Pull {
            timer,
            no_apply,
            json,
        } => pull(&context, *timer, *no_apply, *json),
        Command::Explain { path, json } => {
            let explained = Explained::find(&context, path)?;
            show(*json, || explained.json(), || explained.render())
        }
        Command::Storage { json } => storage(&context, *json),
        Command::Volume { verb } => {
            print(&volume::run(&context, verb)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Health { judge, json } => health(&context, *judge, *json),
        Command::Generations { json } => {
            let generations = Generations::find(&context)?;
            show(*json, || generations.json(), || generations.render())
        }
        Command::Rollback { release: true, .. } => {
            print(&slots::roll_back(&context)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Upgrade {
            from,
            reboot,
            again,
            json,
        } => upgrade(&context, from, *again, *reboot, *json),
        Command::Rollback {
            generation,
            no_apply,
            ..
        } => {
            print(&generations::roll_back(&context, generation.as_deref())?)?;
            match by_policy(&context, *no_apply)? {
                Some(applied) => said(&applied, false),
                None => Ok(ExitCode::SUCCESS),
            }
        }
        Command::Events => match events::run(&context, &mut std::io::stdout().lock())? {},
        Command::Completions { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// Lets a domU leave this host for good.
fn depart(context: &Context, args: &args::moving::Depart) -> Result<ExitCode> {
    let patience = Patience {
        timeout: args.timeout.map(Duration::from_secs),
        force: args.force,
    };
    let departed = moving::depart(context, &args.name, &args.to, patience)?;
    let as_json = || Ok(serde_json::to_string_pretty(&departed)? + "\n");
    show(args.json, as_json, || departed.render())
}

/// Takes a domU as come, or says whether it came.
fn arrive(context: &Context, args: &args::moving::Arrive) -> Result<ExitCode> {
    let (name, from) = (&args.name, &args.from);
    if args.ask {
        let arrival = moving::ask(context, name, from)?;
        let as_json = || Ok(serde_json::to_string_pretty(&arrival)? + "\n");
        return show(args.json, as_json, || arrival.render());
    }
    said(&moving::arrive(context, name, from, args.empty)?, args.json)
}

/// Becomes xl(1), which has the console. Returns if it cannot.
fn console(context: &Context, name: &Name) -> Result<ExitCode> {
    context.domu(name)?;
    let error = std::process::Command::new("xl")
        .args(["console", name.as_str()])
        .exec();
    Err(error).with_context(|| format!("running `xl console {name}`"))
}

/// Fills the other slot, and boots from it if that is asked for.
fn upgrade(
    context: &Context,
    from: &str,
    again: bool,
    reboot: bool,
    json: bool,
) -> Result<ExitCode> {
    let upgraded = upgrade::upgrade(context, from, again)?;
    let code = show(json, || upgraded.json(), || upgraded.render())?;
    if reboot {
        slots::reboot()?;
    }
    Ok(code)
}

/// Prepares and mounts local disks, and says by the exit code whether all is as it should be.
fn storage(context: &Context, json: bool) -> Result<ExitCode> {
    let note = storage::run(context)?;
    print(&if json {
        serde_json::to_string_pretty(&note)? + "\n"
    } else {
        storage::render(note.as_ref())
    })?;
    let is_good = note.is_none_or(|note| note.standing == Standing::Ok);
    Ok(if is_good { 0 } else { FAILURE }.into())
}

/// Prints something that is no failure.
fn show(
    json: bool,
    as_json: impl FnOnce() -> Result<String>,
    render: impl FnOnce() -> String,
) -> Result<ExitCode> {
    print(&if json { as_json()? } else { render() })?;
    Ok(ExitCode::SUCCESS)
}

/// Shows how the host is, or judges what it runs.
fn health(context: &Context, judge: bool, json: bool) -> Result<ExitCode> {
    let (text, is_good) = match judge {
        true => match health::judge(context)? {
            Verdict::Kept(health) => (health.render(), true),
            Verdict::Stays(health) => (health.render(), false),
            Verdict::Left(text) => (text, false),
        },
        false => {
            let health = Health::find(context);
            let text = if json {
                health.json()?
            } else {
                health.render()
            };
            (text, health.is_healthy())
        }
    };
    print(&text)?;
    Ok(if is_good { 0 } else { FAILURE }.into())
}

/// Prints what was done, and says by the exit code how it went.
fn said(applied: &Applied, json: bool) -> Result<ExitCode> {
    print(&if json {
        applied.json()?
    } else {
        applied.render()
    })?;
    Ok(code(applied))
}

fn code(applied: &Applied) -> ExitCode {
    if applied.from.is_some() {
        health::judge_anew();
    }
    match (applied.is_clean(), applied.conflicts.is_empty()) {
        (false, _) => FAILURE.into(),
        (true, false) => REFUSED.into(),
        (true, true) => ExitCode::SUCCESS,
    }
}

/// Takes the commit that is booted next, if there is one and the fleet wants it taken at once.
fn by_policy(context: &Context, no_apply: bool) -> Result<Option<Applied>> {
    if no_apply {
        return Ok(None);
    }
    let Some(policy) = live::policy(context)? else {
        return Ok(None);
    };
    match policy {
        Policy::Manual => Ok(None),
        Policy::Live | Policy::Restart => apply::apply(context, &Wish::default(), true).map(Some),
    }
}

fn plan(context: &Context, json: bool) -> Result<ExitCode> {
    let exported = TempDir::new_in(context.paths.ram()).context("making a directory in RAM")?;
    let next = live::next(context)?;
    let next = next.map(|next| next.export(context, exported.path()));
    let next = next.transpose()?.unwrap_or_else(|| context.clone());
    let mut observer = Observer::new(context);
    let domains = observer.domains()?;
    let mut steps = Steps::find(context, &next, &mut observer, &domains, &Wish::default())?;
    steps.orphans = volume::orphans_of(&next);
    print(&if json {
        steps.json(context)?
    } else {
        steps.render(context)
    })?;
    Ok(if steps.is_empty() { 0 } else { DIFFERENCES }.into())
}

fn pull(context: &Context, timer: bool, no_apply: bool, json: bool) -> Result<ExitCode> {
    let every = context
        .wanted
        .config
        .as_ref()
        .map(|config| config.every.duration());
    if timer && Last::read(context).is_too_early(every.unwrap_or_default()) {
        return Ok(ExitCode::SUCCESS);
    }
    let result = pull::pull(context);
    Last::note(context, &result);
    let pulled = result?;
    if !json {
        print(&pulled.render())?;
    }
    // One that was taken before, and could not be applied, is tried again.
    let applied = by_policy(context, no_apply)?;
    if json {
        print(&pulled.json(applied.as_ref())?)?;
    } else if let Some(applied) = &applied {
        print(&applied.render())?;
    } else if pulled.is_taken() {
        print("It is booted next; `domus-dom0 apply` takes it before that.\n")?;
    }
    Ok(applied.map_or(ExitCode::SUCCESS, |applied| code(&applied)))
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("writing the result")
}

/// Says something on standard error that is no reason to stop.
fn warn(error: &anyhow::Error) {
    eprintln!("domus-dom0: warning: {}", notes::one_line(error));
}
