// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks of the operator's machine that a command overwrites: shown, refused, asked about.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::disk::{Disk, Erasure};
use domus_system::burn::Target;
use domus_system::disks;

use crate::refused::Refused;

/// Which disk, and what the operator says about it.
#[derive(Debug, clap::Args)]
pub(crate) struct Consent {
    /// The disk, as /dev/sdX. All that is on it is lost
    #[arg(value_name = "DEV")]
    device: PathBuf,
    /// Yes, this very disk, although it is not one that is plugged in, or not blank
    #[arg(long, value_name = "DEV")]
    i_know_this_erases: Option<PathBuf>,
    /// Do not ask for the device's name once more
    #[arg(long)]
    yes: bool,
}

/// Takes the disk, so that nobody else uses it. `needs`: how many bytes it must have; `blank_only`:
/// whether only a blank one is taken.
///
/// # Errors
/// That is refused. There is no such device, or it cannot be read.
pub(crate) fn take(consent: &Consent, needs: u64, blank_only: bool) -> Result<(Disk, Target)> {
    let disk = disks::find(&consent.device)?;
    eprint!("{}", disk.describe());
    let named = consent.i_know_this_erases.as_deref().map(real);
    let erasure = Erasure {
        needs,
        blank_only,
        consent: named.as_deref(),
    };
    let mut refusals = disk.refusals(&erasure);
    if refusals.is_empty() && !consent.yes {
        refusals.extend(ask(&disk.path)?);
    }
    if !refusals.is_empty() {
        return Err(refused(&refusals));
    }
    let Some(target) = Target::open(Path::new(&disk.path))? else {
        let why = format!("{} is in use: the kernel does not give it", disk.path);
        return Err(refused(&[why]));
    };
    // Sticks are exchanged while somebody is asked.
    if disks::find(&consent.device)? != disk {
        let why = format!("{} is another disk than a moment ago", disk.path);
        return Err(refused(&[why]));
    }
    Ok((disk, target))
}

/// A device as the kernel calls it; what is not there, as it is written.
fn real(device: &Path) -> String {
    let path = device.canonicalize().unwrap_or_else(|_| device.to_owned());
    path.display().to_string()
}

fn refused(reasons: &[String]) -> anyhow::Error {
    // Below each other behind the word by which a refusal begins.
    let reasons = reasons.join("\n         ");
    Refused(format!("{reasons}\nNothing was written.")).into()
}

/// Asks for the name of the device; why not to go on, if the answer is not that.
fn ask(device: &str) -> Result<Option<String>> {
    if !std::io::stdin().is_terminal() {
        let why = "there is nobody to ask: --yes erases it without a question";
        return Ok(Some(why.to_owned()));
    }
    eprint!("All of this is lost. Type {device} to go on: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("reading the answer")?;
    Ok((answer.trim() != device).then(|| format!("the answer was not {device}")))
}
