// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus completions`: command-line completion for a shell.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

/// Print completions for a shell, to be put where it looks for them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut command = crate::Command::command();
    clap_complete::generate(args.shell, &mut command, "domus", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
