// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus config disk`: the config partition of a host, on a disk that goes into it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use domus_iso::config::{Content, DISK_OVERHEAD};
use domus_model::media::Medium;
use domus_system::interrupt;

use crate::erase::{self, Consent};
use crate::receipt::{self, Register};
use crate::staged::{Staged, Wanted};

/// Make a disk the config partition of a host: its commit, and the images of its domUs
///
/// Only a blank disk is taken, unless it is named twice. The partition takes all of it, as the
/// data volumes of the domUs live there, too, unless host.toml says otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    consent: Consent,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let staged = Staged::new(&args.wanted)?;
    staged.warn_of_key();
    let register = Register::open(&staged.opened.root)?;
    let scratch = staged.opened.output().0;
    let content = Content::gather(&staged.configuration(), &scratch)?;
    let needs = content.needs + DISK_OVERHEAD;
    let (disk, target) = erase::take(&args.consent, needs, true)?;
    // From here on sfdisk and mke2fs ask the kernel for the disk, which gives it to one at a time.
    drop(target);
    content
        .device(&staged.tools, Path::new(&disk.path), disk.size)
        .with_context(|| format!("{} is not usable now: prepare it again", disk.path))?;
    let medium = Medium {
        host: Some(staged.host().name.clone()),
        commit: Some(staged.commit.id.clone()),
        ..receipt::of_disk(&disk)
    };
    receipt::give(medium, &disk, Some(register), args.wanted.json)
}
