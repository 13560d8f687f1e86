// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus`: the operator's program.

mod commands;
mod erase;
mod index;
mod locked;
mod machine;
mod opened;
mod private;
mod progress;
mod receipt;
mod refused;
mod render;
mod secure_boot;
mod signer;
mod staged;
mod tree;

use std::process::ExitCode;

use clap::Parser;

/// Builds read-only Xen hosts from one git repository, and keeps them as it says
#[derive(Debug, Parser)]
#[command(name = "domus", version)]
enum Command {
    Init(commands::init::Args),
    Check(commands::check::Args),
    Show(commands::show::Args),
    Plan(commands::plan::Args),
    Explain(commands::explain::Args),
    Schema(commands::schema::Args),
    Secret(commands::secret::Args),
    Config(commands::config::Args),
    Host(commands::host::Args),
    Image(commands::image::Args),
    Import(commands::import::Args),
    Iso(commands::iso::Args),
    Keys(commands::keys::Args),
    Media(commands::media::Args),
    Move(commands::moving::Args),
    Publish(commands::publish::Args),
    Rehearse(commands::rehearse::Args),
    Completions(commands::completions::Args),
}

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            // Exit code 2 means differences: a wrong command line is an error like any other.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let done = match command {
        Command::Init(args) => commands::init::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Show(args) => commands::show::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Schema(args) => commands::schema::run(&args),
        Command::Secret(args) => commands::secret::run(args),
        Command::Config(args) => commands::config::run(&args),
        Command::Host(args) => commands::host::run(args),
        Command::Image(args) => commands::image::run(args),
        Command::Import(args) => commands::import::run(args),
        Command::Iso(args) => commands::iso::run(args),
        Command::Keys(args) => commands::keys::run(args),
        Command::Media(args) => commands::media::run(&args),
        Command::Move(args) => commands::moving::run(&args),
        Command::Publish(args) => commands::publish::run(&args),
        Command::Rehearse(args) => commands::rehearse::run(args),
        Command::Completions(args) => commands::completions::run(&args),
    };
    done.unwrap_or_else(|error| refused::say(&error).into())
}
