// SPDX-License-Identifier: GPL-3.0-or-later
//! The trial of a release, as far as the boot goes. GRUB counted it before it began, and chose the
//! slot; here that is written down, and what GRUB left is left for good.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_model::boot::BootRecord;
use domus_model::slots::Booted;
use domus_model::trial::MOST_BOOTS;
use domus_system::slots::{self, Medium};

use crate::console;

/// Says what GRUB chose, and what follows. `root` is where `/config` is.
pub(crate) fn settle(root: &Path, record: &mut BootRecord) {
    let Some(booted) = record.slot else { return };
    if let Err(error) = look(root, booted, record) {
        let problem = format!("slot {} was booted: {error:#}", booted.slot);
        console::say(&problem);
        record.problems.push(problem);
    }
}

fn look(root: &Path, booted: Booted, record: &mut BootRecord) -> Result<()> {
    let slot = booted.slot;
    if let Some(attempt) = booted.attempt {
        console::say(format!(
            "this release is on trial in slot {slot}: boot {attempt} of {MOST_BOOTS} at most"
        ));
    }
    let device = record.medium.as_deref().context("there is no medium")?;
    let medium = find(device)?;
    ensure!(medium.slot == slot, "the medium {device} is another slot");
    let other = medium.release(slot.other())?;
    let mut releases = slots::releases(root)?;
    let (choice, why) = medium.choice()?.settle(slot);
    if let Some(why) = why {
        if let Some(id) = &other {
            releases.leave(id, &why);
            slots::remember(root, &releases)?;
        }
        medium.choose(&choice)?;
    }
    let left = releases.left.into_iter();
    let mut left = left.filter(|left| Some(&left.id) == other.as_ref());
    record.left_release = left.next();
    if let Some(left) = &record.left_release {
        let (id, why) = (&left.id, &left.why);
        let id = id.get(..12).unwrap_or(id);
        console::say(format!("WENT BACK from release {id}: {why}"));
    }
    Ok(())
}

/// Leaves the release `id`, which is on trial in the slot `device`.
pub(crate) fn leave(root: &Path, device: &str, id: &str, why: &str) -> Result<()> {
    slots::leave(&find(device)?, root, id, why)
}

fn find(device: &str) -> Result<Medium> {
    let medium = Medium::of(Path::new("/"), Path::new(device))?;
    medium.with_context(|| format!("the medium {device} is no slot"))
}
