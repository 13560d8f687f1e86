// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus media list`: what was written to which medium.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use domus_model::media::Medium;
use serde::Serialize;

use crate::locked::WorkLock;
use crate::opened;
use crate::receipt::Register;

/// List the media that were written, and with what
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The fleet's repository, or a directory below it
    #[arg(long, short = 'C', default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    medium: &'a Medium,
    outdated: Option<&'static str>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let root = opened::find(&args.dir)?;
    let media = Register::open(&root)?.read()?;
    let lock = WorkLock::open(&root)?.lock;
    if args.json {
        let row = |medium| Row {
            medium,
            outdated: Medium::outdated(medium, &lock),
        };
        let rows: Vec<Row<'_>> = media.media.iter().map(row).collect();
        let report = serde_json::json!({ "media": rows });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if media.media.is_empty() {
        println!("No medium was written yet; `domus iso write` does it.");
    } else {
        print!("{}", media.list(&lock));
    }
    Ok(ExitCode::SUCCESS)
}
