// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus iso verify`: reads an ISO back.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::title;

/// Read an ISO back and check every digest of its manifest
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The ISO or medium, or the device it was written to
    file: PathBuf,
    /// Print one JSON object: the manifest
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let verified = domus_system::iso::verify(&args.file)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&verified.manifest)?);
    } else {
        let (files, packages) = (
            verified.manifest.files.len(),
            verified.manifest.packages.len(),
        );
        println!(
            "{}   whole: {files} files and the boot structures   {packages} packages",
            title(&verified.manifest)
        );
    }
    Ok(ExitCode::SUCCESS)
}
