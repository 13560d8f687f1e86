// SPDX-License-Identifier: GPL-3.0-or-later
//! A host's local disks: what is on them, and what Domus makes there. What is made of what is found
//! is `domus-model`'s to decide.

mod fill;
mod lay;
mod look;
pub mod mirror;
pub mod physical;
pub mod smart;

pub use fill::{config_mount, fill};
pub use lay::{lay, settle};
pub use look::{BY_ID, Parts, device, look, parts_of, place};

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::program::Program;

/// What LVM shall not keep in `/etc`: the group is on the disks.
const NO_BACKUP: &str = "backup{backup=0 archive=0}";

/// A UUID that nobody had before.
///
/// # Errors
/// The kernel gives none.
pub fn new_id() -> Result<Uuid> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    text.trim()
        .parse()
        .with_context(|| format!("reading {path}"))
}

/// Makes the volume group `name` of `device`, on which nothing is.
///
/// # Errors
/// LVM refuses.
pub fn make_group(name: &str, device: &Path) -> Result<()> {
    let lvm = |program: &str| Program::new(program).args(["--yes", "--config", NO_BACKUP]);
    lvm("pvcreate").arg("--").arg(device).run()?;
    lvm("vgcreate").args(["--", name]).arg(device).run()
}

/// Stops the volume group that `device` is a part of, if nobody uses its volumes.
///
/// # Errors
/// Somebody does.
pub fn stop_group(device: &Path) -> Result<()> {
    let name = group_of(device)?;
    Program::new("vgchange")
        .args(["--activate", "n", "--", &name])
        .run()
}

fn group_of(device: &Path) -> Result<String> {
    let output = Program::new("pvs")
        .args(["--noheadings", "--options", "vg_name", "--"])
        .arg(device)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes sure that `device` has the volume group `name`.
///
/// # Errors
/// It has another one, or none.
pub fn ensure_group(name: &str, device: &Path) -> Result<()> {
    let has = group_of(device)?;
    let shown = device.display();
    ensure!(
        has == name,
        "{shown} has the volume group {has:?}, and {name} is wanted: `vgrename` it, or say so"
    );
    Ok(())
}
