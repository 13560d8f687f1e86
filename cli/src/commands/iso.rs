// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus iso`: the dom0 ISO of the fleet's release.

mod build;
mod verify;
mod write;

use std::process::ExitCode;

use anyhow::Result;
use domus_model::manifest::ReleaseManifest;

/// Build the read-only dom0 ISO, read one back, write it to a stick
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Build(build::Args),
    Verify(verify::Args),
    Write(write::Args),
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Build(args) => build::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Write(args) => write::run(&args),
    }
}

fn title(manifest: &ReleaseManifest) -> String {
    let payload = &manifest.payload;
    let signed = match (payload.unsigned, &payload.secure_boot) {
        (true, _) => "   unsigned",
        (false, None) => "",
        (false, Some(_)) => "   signed for Secure Boot",
    };
    let id = manifest.id.get(..12).unwrap_or(&manifest.id);
    format!(
        "release {} ({id}) of fleet {}{signed}",
        payload.release, payload.fleet
    )
}
