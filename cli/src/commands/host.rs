// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus host`: hosts of the fleet as a whole.

mod document;
mod replace;

use std::process::ExitCode;

use anyhow::Result;

/// Change hosts of the fleet as a whole
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Replace(replace::Args),
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Replace(args) => replace::run(args),
    }
}
