// SPDX-License-Identifier: GPL-3.0-or-later
//! The release that this host runs, and the one in the other slot of its medium.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use domus_model::manifest::{EFI_IMAGE, ReleaseManifest};
use domus_model::slots::{Choice, Slot};
use domus_model::trial::MOST_BOOTS;
use domus_system::program::Program;
use domus_system::slots::{self, Medium};
use domus_system::{digest, interrupt, iso};
use serde::Serialize;

use crate::Refused;
use crate::context::Context;
use crate::notes::one_line;
use crate::warn;

/// Both slots, as `status` and `generations` show them.
#[derive(Debug, Serialize)]
pub(crate) struct Slots {
    /// The one that runs.
    runs: Slot,
    /// The number of this boot, if the release that runs is on trial.
    attempt: Option<u32>,
    /// The one that is booted next.
    next: Option<Slot>,
    /// Whether what is booted next is on trial.
    next_on_trial: bool,
    /// The id of the release in the other one.
    other: Option<String>,
    /// Why that was left, if it was.
    left: Option<String>,
    /// Why it is not known which boots.
    problem: Option<String>,
}

impl Slots {
    /// Looks; none where no slot was booted.
    pub(crate) fn find(context: &Context) -> Option<Self> {
        let booted = context.slot?;
        let mut found = Self {
            runs: booted.slot,
            attempt: None,
            next: None,
            next_on_trial: false,
            other: None,
            left: None,
            problem: None,
        };
        if let Err(error) = found.look(context) {
            found.problem = Some(one_line(&error));
        }
        Some(found)
    }

    fn look(&mut self, context: &Context) -> Result<()> {
        let medium = medium(context)?;
        self.other = medium.release(medium.slot.other())?;
        let releases = slots::releases(&root(context))?;
        let id = self.other.as_deref();
        self.left = id.and_then(|id| releases.failure(id)).map(str::to_owned);
        let choice = medium.choice()?;
        self.next = Some(choice.good);
        match choice.trial {
            Some((slot, tries)) if slot == self.runs => self.attempt = Some(tries),
            Some((slot, _)) => (self.next, self.next_on_trial) = (Some(slot), true),
            None => {}
        }
        Ok(())
    }

    /// Behind the name of the release that runs.
    pub(crate) fn word(&self) -> String {
        match self.attempt {
            Some(attempt) => format!(
                "slot {}, on trial: boot {attempt} of {MOST_BOOTS}",
                self.runs
            ),
            None => format!("slot {}", self.runs),
        }
    }

    /// What else there is to say.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let other = self.other.as_deref().map_or("none", short);
        if let Some(problem) = &self.problem {
            lines.push(format!("which release boots next is not known: {problem}"));
        }
        if let Some(next) = self
            .next
            .filter(|next| *next != self.runs && self.attempt.is_none())
        {
            let trial = if self.next_on_trial { ", on trial" } else { "" };
            lines.push(format!(
                "release {other} in slot {next} is booted next{trial}"
            ));
        } else if let Some(why) = &self.left {
            lines.push(format!(
                "release {other} was left: {why}; `domus-dom0 upgrade --again` tries it again"
            ));
        }
        if self.attempt.is_some() {
            lines.push(format!(
                "this release has to get healthy, or the host goes back to {other}"
            ));
        }
        lines
    }
}

/// The first digits of a release's id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// What stands for `/`.
pub(crate) fn root(context: &Context) -> PathBuf {
    context.paths.at("/")
}

/// The medium with the slots.
///
/// # Errors
/// This host was not booted from one: that is a refusal.
pub(crate) fn medium(context: &Context) -> Result<Medium> {
    let refused = |why: &str| {
        Refused(format!(
            "this host has no slots for releases: {why}. Boot the medium of another release, or \
             make one with slots with `domus media build {}`",
            context.host.name
        ))
    };
    let Some(booted) = context.slot else {
        return Err(refused(match context.verified {
            domus_model::boot::Verified::SecureBoot => {
                "its firmware started a signed release by itself, and nothing before that chooses"
            }
            domus_model::boot::Verified::Unverified => {
                "GRUB did not take its release from a slot, but from a CD or a stick of its own"
            }
        })
        .into());
    };
    let device = context.record["medium"].as_str().unwrap_or_default();
    match Medium::of(&root(context), Path::new(device))? {
        Some(medium) if medium.slot == booted.slot => Ok(medium),
        _ => Err(refused(&format!("{device} is not slot {}", booted.slot)).into()),
    }
}

/// Whether the release that runs has yet to get healthy. Where that cannot be found out nobody
/// goes back for it.
pub(crate) fn on_trial(context: &Context) -> bool {
    if context.slot.is_none() {
        return false;
    }
    let choice = medium(context).and_then(|medium| Ok((medium.slot, medium.choice()?)));
    choice.map_or_else(
        |error| {
            warn(&error);
            false
        },
        |(slot, choice)| choice.is_on_trial(slot),
    )
}

/// Keeps the release that runs: from now on it is what GRUB boots.
///
/// # Errors
/// The medium or the config partition cannot be written.
pub(crate) fn keep(context: &Context) -> Result<()> {
    if context.slot.is_none() {
        return Ok(());
    }
    let medium = medium(context)?;
    remember_good(context)?;
    match medium.choice() {
        Ok(choice) if !choice.is_on_trial(medium.slot) => Ok(()),
        // One that is damaged is made anew.
        _ => medium.choose(&Choice::only(medium.slot)),
    }
}

/// Remembers that the release that runs was healthy here.
pub(crate) fn remember_good(context: &Context) -> Result<()> {
    let (_, Some(id)) = context.release_id() else {
        return Ok(());
    };
    let root = root(context);
    let mut releases = slots::releases(&root)?;
    match releases.keep(id) {
        true => slots::remember(&root, &releases),
        false => Ok(()),
    }
}

/// Leaves the release that runs for the one in the other slot, and starts the machine again.
///
/// # Errors
/// Nothing can be written.
pub(crate) fn leave(context: &Context, why: &str) -> Result<String> {
    let id = context.release_id().1.unwrap_or_default();
    slots::leave(&medium(context)?, &root(context), id, why)?;
    reboot()?;
    let (host, id) = (&context.host.name, short(id));
    Ok(format!(
        "{host}   WENT BACK from release {id} by a reboot: {why}\n"
    ))
}

/// Starts the machine again, in order.
pub(crate) fn reboot() -> Result<()> {
    Program::new("systemctl")
        .args(["--no-block", "reboot"])
        .run()
}

/// Makes sure that `boot` has what firmware starts of a release.
fn ensure_boots(boot: &Path, manifest: &ReleaseManifest) -> Result<()> {
    let doing = || format!("reading {}", boot.display());
    let wanted = manifest
        .files
        .get(EFI_IMAGE)
        .with_context(|| format!("the release has no {EFI_IMAGE}"))?;
    let mut content = File::open(boot).with_context(doing)?.take(wanted.size);
    ensure!(
        digest::of_reader(&mut content).with_context(doing)? == wanted.sha256,
        "{} does not have what firmware starts of that release: `domus-dom0 upgrade` writes it again",
        boot.display()
    );
    Ok(())
}

/// Boots the release in the other slot next: one that was healthy here, so that it is not on trial.
///
/// # Errors
/// There is none, or it is damaged.
pub(crate) fn roll_back(context: &Context) -> Result<String> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let medium = medium(context)?;
    let other = medium.slot.other();
    let Some(id) = medium.release(other)? else {
        return Err(Refused(format!("slot {other} has no release")).into());
    };
    let name = short(&id);
    if !slots::releases(&root(context))?.was_good(&id) {
        let why = format!(
            "release {name} in slot {other} was never healthy here; `domus-dom0 upgrade` tries one"
        );
        return Err(Refused(why).into());
    }
    let manifest = iso::verify(medium.partition(other))?.manifest;
    if let Some(boot) = medium.boot_partition(other) {
        ensure_boots(boot, &manifest)?;
    }
    medium.choose(&Choice::only(other))?;
    Ok(format!(
        "{}   release {} ({name}) in slot {other} is booted next\n",
        context.host.name, manifest.payload.release
    ))
}
