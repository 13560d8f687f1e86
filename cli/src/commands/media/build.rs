// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus media build`: one stick is one host.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use domus_iso::media::{self, Parts};
use domus_model::disk::bytes;
use domus_model::fleet::SerialConsole;
use domus_model::media::Label;
use domus_model::status::short;
use domus_system::interrupt;
use serde::Serialize;

use crate::progress::Terminal;
use crate::secure_boot::SignerKey;
use crate::staged::{Staged, Wanted};

/// Build an image with the release and a host's configuration: written to a stick, it is that host
///
/// It boots by BIOS and by UEFI. `domus iso write DEV --iso IMAGE` writes it, `domus rehearse HOST
/// --iso IMAGE` boots it in QEMU.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    signer: SignerKey,
    /// Where the image goes; without one, build/ of the repository
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    size: u64,
    #[serde(flatten)]
    label: &'a Label,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let staged = Staged::new(&args.wanted)?;
    ensure!(
        !staged.is_medium,
        "{} is a medium already; name an ISO",
        staged.iso.display()
    );
    staged.warn_of_key();
    let signing = match &staged.manifest.payload.secure_boot {
        Some(signed) => Some(args.signer.same(&staged.opened, &staged.iso, signed)?),
        None => None,
    };
    let host = &staged.host().name;
    let default = || {
        let name = format!("{}-{host}.img", staged.opened.fleet.name);
        staged.opened.output().0.join(name)
    };
    let to = args.output.clone().unwrap_or_else(default);
    let console = staged.host().machine.console;
    if signing.is_some() && console != SerialConsole::default() {
        eprintln!(
            "warning: the release is signed, so that Xen shows itself on {} and not on {console}; \
             GRUB does that",
            SerialConsole::default()
        );
    }
    let parts = Parts {
        configuration: staged.configuration(),
        iso: &staged.iso,
        manifest: &staged.manifest,
        signing: signing.as_ref(),
    };
    let label = media::build(&parts, &staged.tools, &to, &Terminal::default())?;
    let size = to.metadata()?.len();
    if args.wanted.json {
        let report = Report {
            path: &to,
            size,
            label: &label,
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!(
            "{host}   release {} ({})   commit {}   {}   {}",
            label.release,
            label.id.get(..12).unwrap_or(&label.id),
            short(&label.commit),
            bytes(size),
            to.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}
