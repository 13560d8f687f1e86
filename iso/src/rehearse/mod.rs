// SPDX-License-Identifier: GPL-3.0-or-later
//! Rehearsal: exactly this ISO and this commit, booted in QEMU as the machine that host.toml
//! describes, watched until its domUs are up.

mod accelerator;
mod disk;
mod machine;
mod run;
mod serial;

use std::path::{Path, PathBuf};

use domus_model::fleet::{Fleet, Host};
use domus_model::names::ImageRef;
use domus_model::rehearsal::{Event, Firmware, Rehearsal};

pub use accelerator::Accelerator;
pub use disk::config_disk;
pub use machine::{Machine, Medium};
pub use run::{Kept, Outcome};

/// A rehearsal to be done.
#[derive(Debug)]
pub struct Script<'a> {
    /// The fleet at the commit.
    pub fleet: &'a Fleet,
    /// The host.
    pub host: &'a Host,
    /// The commit.
    pub commit: &'a str,
    /// What says that the host shall run it: a target, or the commit itself.
    pub statement: &'a str,
    /// The repository that has it.
    pub repo: &'a Path,
    /// The ISO.
    pub iso: &'a Path,
    /// Where the images of a domU are, by reference.
    pub images: &'a dyn Images,
    /// Where serial log, disk and sockets are kept.
    pub dir: &'a Path,
    /// Firmware.
    pub firmware: Firmware,
    /// What the ISO is put into.
    pub medium: Medium,
    /// What runs the machine; none tries what works.
    pub accelerator: Option<Accelerator>,
    /// Longest time from power-on, in seconds.
    pub timeout: u64,
    /// Memory of the machine in MiB; none is what dom0 and the domUs ask for.
    pub memory_mib: Option<u64>,
    /// The host's private SSH key, if it is not to make one.
    pub host_key: Option<&'a std::path::Path>,
    /// Sizes of blank disks beside the config disk.
    pub blank_disks: &'a [domus_model::units::Size],
}

/// Finds the directory of a built image.
pub trait Images: std::fmt::Debug {
    /// The directory of `image`, which may not exist.
    fn dir(&self, image: &ImageRef) -> PathBuf;
}

/// Does the rehearsal. `heard` is told each event as it happens.
///
/// # Errors
/// The machine could not be prepared or started; a boot that fails is no error but a
/// [`Rehearsal`] that is not `ok`.
pub fn rehearse(
    script: &Script<'_>,
    tools: &domus_build::toolroot::ToolRoot,
    heard: &mut dyn FnMut(&Event),
) -> anyhow::Result<(Rehearsal, Option<Kept>)> {
    run::run(script, tools, heard)
}
