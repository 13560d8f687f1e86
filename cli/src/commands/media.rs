// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus media`: release and configuration of one host in one image, and what was written.

mod build;
mod list;

use std::process::ExitCode;

use anyhow::Result;

/// Build a medium that is one host, list the media that were written
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Build(build::Args),
    List(list::Args),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Build(args) => build::run(args),
        Command::List(args) => list::run(args),
    }
}
