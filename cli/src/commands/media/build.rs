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
use domus_system::{digest, interrupt};
use serde::Serialize;

use crate::progress::Terminal;
use crate::secure_boot::{Signer, SignerKey};
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

/// Who signs what chooses between releases, if the ISO is signed for Secure Boot.
fn signing(key: &SignerKey, staged: &Staged) -> Result<Option<Signer>> {
    let Some(signed) = &staged.manifest.payload.secure_boot else {
        return Ok(None);
    };
    let iso = staged.iso.display();
    let other = || {
        format!(
            "{iso} is signed for another certificate than the one in secure-boot/: `domus iso build` \
             makes one for this"
        )
    };
    let signer = key.signer(&staged.opened)?.unwrap_or_else(|| Err(other()));
    Ok(Some(match signer {
        Ok(signing) if digest::of_file(&signing.certificate)? != *signed => Err(other()),
        signer => signer,
    }))
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
    let signing = match signing(&args.signer, &staged)?.transpose() {
        Ok(signing) => signing,
        Err(why) => {
            eprintln!("refused: {why}");
            return Ok(ExitCode::from(3));
        }
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
