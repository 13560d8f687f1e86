// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus config`: what a host is configured with, on a disk that goes into it, or as a seed.

mod disk;
mod seed;

use std::process::ExitCode;

use anyhow::Result;

/// Prepare config partitions, and seeds that set them up
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Disk(disk::Args),
    Seed(seed::Args),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Disk(args) => disk::run(args),
        Command::Seed(args) => seed::run(args),
    }
}
