// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus config seed`: a read-only seed, from which a host sets up a blank disk.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use domus_iso::config::Content;
use domus_model::disk::bytes;
use domus_model::names::Name;
use domus_model::status::short;
use domus_system::{digest, interrupt};
use serde::Serialize;

use crate::staged::{Staged, Wanted};

/// Make a read-only seed of a host: an ISO with its commit and the images of its domUs
///
/// It is burnt on a CD or written to a stick, and stays in the machine. A host whose disk is blank
/// sets up its config partition from it, of the size that `config` in [storage] of host.toml has.
/// Without that the host runs from the seed, and keeps nothing. The same inputs give the same ISO.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Where the ISO goes; without one, build/ of the repository
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    size: u64,
    host: &'a Name,
    commit: &'a str,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let staged = Staged::new(&args.wanted)?;
    staged.warn_of_key();
    let (host, commit) = (staged.host(), &staged.commit.id);
    let name = &host.name;
    let config = host.storage.local.as_ref().and_then(|local| local.config);
    let content = Content::gather(&staged.configuration(), &staged.opened.output().0)?;
    match config {
        Some(config) => ensure!(
            content.needs <= config.bytes(),
            "host.toml of {name} has {config} for /config, and what is set up from this seed needs \
             {}: write more in [storage]",
            bytes(content.needs)
        ),
        None => eprintln!(
            "warning: host.toml of {name} has no `config` in [storage]: {name} keeps nothing where \
             it runs from this seed, not even an SSH host key"
        ),
    }
    let default = || {
        let name = format!("{}-{name}-seed.iso", staged.opened.fleet.name);
        staged.opened.output().0.join(name)
    };
    let to = args.output.clone().unwrap_or_else(default);
    // Seeds of other hosts or commits have other UUIDs.
    let fleet = &staged.opened.fleet.name;
    let id = digest::of_bytes(format!("domus seed\n{fleet}\n{name}\n{commit}\n").as_bytes());
    content.seed(&staged.tools, &id, &to)?;
    let size = to.metadata()?.len();
    if args.wanted.json {
        let report = Report {
            path: &to,
            size,
            host: name,
            commit,
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!(
            "{name}   commit {}   {}   {}",
            short(commit),
            bytes(size),
            to.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}
