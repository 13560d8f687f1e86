// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus iso build`: the ISO of the fleet's release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use domus_model::boot::ReleaseIdentity;
use domus_model::manifest::ReleaseManifest;
use domus_model::trust;
use domus_repo::{Repo, TARGETS_REF};
use domus_system::{digest, interrupt};
use serde::Serialize;

use super::title;
use crate::locked::{WorkLock, enter};
use crate::opened::Opened;
use crate::progress::Terminal;
use crate::refused::Refused;
use crate::secure_boot::SignerKey;

/// Build the ISO of the fleet's release
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The fleet's repository, or a directory below it
    #[arg(long, short = 'C', default_value = ".")]
    dir: PathBuf,
    /// Where the ISO goes; without one, build/ of the repository
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Hosts of this release run commits that nobody signed; without it, what the keys in
    /// trust.toml signed, and nothing else
    #[arg(long, conflicts_with = "SignerKey")]
    unsigned: bool,
    #[command(flatten)]
    signer: SignerKey,
    /// Debian mirror; without one, the fleet's or mmdebstrap's own
    #[arg(long, env = "DOMUS_MIRROR")]
    mirror: Option<String>,
    /// Replace what domus.lock says of this version, if it is another release
    #[arg(long)]
    relock: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let opened = Opened::at(&args.dir)?;
    let version = opened.fleet.release.version.clone();
    let mut release = release(&opened, args.unsigned)?;
    let signing = match args.unsigned {
        // Firmware would start it on any host, and it runs what nobody signed.
        true => None,
        false => args.signer.signer(&opened)?,
    };
    if let Some(signing) = &signing {
        release.secure_boot = Some(digest::of_file(&signing.certificate)?);
    }
    let to = args.output.clone();
    let to = to.unwrap_or_else(|| opened.iso(&version));
    let progress = Terminal::default();
    let building = "building the ISO";
    let mirror = args.mirror.as_deref();
    let signing = signing.as_ref();
    let built = domus_iso::build(&opened.fleet, mirror, &release, signing, &progress);
    let built = built.context(building)?;
    let mut work = WorkLock::open(&opened.root)?;
    if !work.lock.releases.contains_key(&version) && !args.unsigned {
        warn_of_old_targets(&opened.root, release.least_serial);
    }
    let (releases, relock) = (&mut work.lock.releases, args.relock);
    let raise = "raise [release] version in domus.toml";
    enter(
        releases,
        version.clone(),
        built.digest,
        relock,
        "release",
        raise,
    )?;
    let unchanged = built.deliver(&to).context(building)?;
    work.write_release(&version, &built.etc)?;
    let size = to.metadata().map_or(0, |meta| meta.len());
    if args.json {
        let report = Report {
            path: &to,
            size,
            unchanged,
            manifest: &built.manifest,
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let state = if unchanged { "unchanged" } else { "built" };
        println!(
            "{}   {state}   {} MiB   {}",
            title(&built.manifest),
            size >> 20,
            to.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What the release says of itself.
///
/// # Errors
/// Refused: it would not know whom to believe.
fn release(opened: &Opened, unsigned: bool) -> Result<ReleaseIdentity> {
    let path = opened.root.join(trust::DOCUMENT);
    let trust = match unsigned || !path.exists() {
        true => None,
        // That it is signed by enough was proved with the fleet.
        false => Some(fs::read_to_string(&path).context("reading trust.toml")?),
    };
    if trust.is_none() && !unsigned {
        let why = "there is no trust.toml, so the release would not know whose commits its hosts may \
                   run.\n`domus keys init` makes one; `domus iso build --unsigned` is for hosts that \
                   run what nobody signed";
        return Err(Refused(why.to_owned()).into());
    }
    Ok(ReleaseIdentity {
        fleet: opened.fleet.name.clone(),
        version: opened.fleet.release.version.clone(),
        unsigned,
        least_serial: match &trust {
            Some(_) => opened.fleet.release.least_serial,
            None => 0,
        },
        trust,
        rescue_password: opened.fleet.release.rescue_password.clone(),
        secure_boot: None,
    })
}

/// Says if hosts that are installed with a new release would take targets that are long outdated.
fn warn_of_old_targets(root: &Path, least: u32) {
    let repo = Repo::discover(root).ok();
    let newest = repo.and_then(|repo| repo.statement(TARGETS_REF).ok()?.target);
    let newest = newest.map_or(0, |target| target.serial);
    if newest > least {
        eprintln!(
            "warning: the newest target is {newest}, and a host that is installed with this new \
             release would take any from {least} on; write least-serial = {newest} into [release] \
             of domus.toml"
        );
    }
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a PathBuf,
    size: u64,
    unchanged: bool,
    manifest: &'a ReleaseManifest,
}
