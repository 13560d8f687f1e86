// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0`: runs the domUs of a host as its commit wants them, and says how they are.

mod apply;
mod args;
mod config_disk;
mod context;
mod events;
mod explain;
mod follow;
mod generations;
mod image;
mod lock;
mod loops;
mod notes;
mod observe;
mod paths;
mod pull;
mod start;
mod status;
mod steps;
mod stop;
mod verified;
mod volume;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{CommandFactory, Parser};

use crate::args::{Args, Command};
use crate::context::Context;
use crate::explain::Explained;
use crate::generations::Generations;
use crate::observe::Observer;
use crate::pull::Last;
use crate::status::HostStatus;
use crate::steps::Steps;
use crate::stop::Patience;

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
        Command::Apply { names, json } | Command::Start { names, json } => {
            apply(&context, names, *json)
        }
        Command::Plan { json } => plan(&context, *json),
        Command::Stop {
            names,
            timeout,
            force,
            all: _,
        } => {
            let patience = Patience {
                timeout: seconds(*timeout),
                force: *force,
            };
            stop::stop(&context, names, patience)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { json, wait } => {
            let status = HostStatus::find(&context, wait.map(seconds))?;
            print(&if *json {
                status.json()?
            } else {
                status.render()
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Pull { timer, json } => pull(&context, *timer, *json),
        Command::Explain { path, json } => {
            let explained = Explained::find(&context, path)?;
            print(&if *json {
                explained.json()?
            } else {
                explained.render()
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Generations { json } => {
            let generations = Generations::find(&context)?;
            print(&if *json {
                generations.json()?
            } else {
                generations.render()
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rollback { generation } => {
            print(&generations::roll_back(&context, *generation)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Events => match events::run(&context, &mut std::io::stdout().lock())? {},
        Command::Completions { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn apply(context: &Context, names: &[domus_model::names::Name], json: bool) -> Result<ExitCode> {
    let applied = apply::apply(context, names)?;
    print(&if json {
        applied.json()?
    } else {
        applied.render()
    })?;
    if applied.is_clean() && names.is_empty() {
        generations::mark_good(context);
    }
    Ok(if applied.is_clean() { 0 } else { FAILURE }.into())
}

fn plan(context: &Context, json: bool) -> Result<ExitCode> {
    let mut observer = Observer::new(context);
    let domains = observer.domains()?;
    let steps = Steps::find(context, &mut observer, &domains, &[])?;
    print(&if json {
        steps.json(context)?
    } else {
        steps.render(context)
    })?;
    Ok(if steps.is_empty() { 0 } else { DIFFERENCES }.into())
}

fn pull(context: &Context, timer: bool, json: bool) -> Result<ExitCode> {
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
    print(&if json {
        pulled.json()?
    } else {
        pulled.render()
    })?;
    Ok(ExitCode::SUCCESS)
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
