// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus iso write`: an ISO or medium onto a stick, read back and remembered.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use domus_build::cache::Cache;
use domus_build::toolroot::ToolRoot;
use domus_iso::media;
use domus_model::lock::Sha256;
use domus_model::media::{Label, Medium};
use domus_system::interrupt;
use domus_system::iso::{self, Verified};

use super::title;
use crate::erase::{self, Consent};
use crate::opened::{self, Opened};
use crate::progress::{Bar, Terminal};
use crate::receipt::{self, Register};

/// Write the ISO to a stick, read it back and compare
///
/// Shows what the device is and what is on it, and asks. A device that is in use, holds the
/// running system or is too small is refused. The receipt goes into media.toml.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    consent: Consent,
    /// The ISO, or an image of `domus media build`; without it, the ISO of the fleet's release in
    /// build/
    #[arg(long, value_name = "FILE")]
    iso: Option<PathBuf>,
    /// The fleet's repository, or a directory below it
    #[arg(long, short = 'C', default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    // Without a repository an ISO can be written, but nobody remembers it.
    let opened = match (&args.iso, opened::find(&args.dir)) {
        (Some(_), Err(_)) => None,
        _ => Some(Opened::at(&args.dir)?),
    };
    let mut register = opened.as_ref().map(|it| Register::open(&it.root));
    let register = register.take().transpose()?;
    let default = || {
        let opened = opened.as_ref()?;
        Some(opened.iso(&opened.fleet.release.version))
    };
    let iso = args.iso.clone().or_else(default);
    let iso = iso.context("there is no fleet here; name the ISO with --iso")?;
    ensure!(
        iso.is_file(),
        "{} is not there: `domus iso build` makes it",
        iso.display()
    );
    let verified = iso::verify(&iso)?;
    if let Some(opened) = &opened {
        let (own, other) = (&opened.fleet.name, &verified.manifest.payload.fleet);
        ensure!(
            own == other,
            "{} is of the fleet {other}, this repository of {own}",
            iso.display()
        );
    }
    let label = label(&verified, &iso, opened.as_ref())?;
    let needs = iso.metadata()?.len();
    eprintln!("{}   {}", title(&verified.manifest), iso.display());
    let (disk, target) = erase::take(&args.consent, needs, false)?;
    let bar = Bar::new(needs);
    let digest = target.burn(&iso, &mut |phase, done, _| bar.show(phase, done))?;
    drop((bar, target));
    let medium = Medium {
        release: Some(verified.manifest.payload.release.clone()),
        id: Some(Sha256::from_hex(&verified.manifest.id)?),
        host: label.as_ref().map(|label| label.host.clone()),
        commit: label.map(|label| label.commit),
        digest: Some(Sha256::from_hex(&digest)?),
        ..receipt::of_disk(&disk)
    };
    receipt::give(medium, &disk, register, args.json)
}

/// What the image says whose medium it is, if it is one.
fn label(verified: &Verified, iso: &Path, opened: Option<&Opened>) -> Result<Option<Label>> {
    if !verified.is_medium {
        return Ok(None);
    }
    let mirror = opened.and_then(|opened| opened.fleet.debian.mirror.clone());
    let suite = &verified.manifest.payload.suite;
    let progress = Terminal::default();
    let tools = ToolRoot::open(&Cache::open()?, suite, mirror.as_deref(), &progress)?;
    media::label(&tools, iso).map(Some)
}
