// SPDX-License-Identifier: GPL-3.0-or-later
//! Rehearsal: exactly this ISO and this commit, booted in QEMU as the machine that host.toml
//! describes, watched until its domUs are up.

mod accelerator;
mod machine;
mod run;
mod serial;

use std::path::Path;

use domus_model::rehearsal::{Event, Firmware, Rehearsal};

use crate::config::Configuration;

pub use accelerator::Accelerator;
pub use machine::{Machine, Medium};
pub use run::{Kept, Outcome};

/// A rehearsal to be done.
#[derive(Debug)]
pub struct Script<'a> {
    /// What its host is configured with.
    pub configuration: Configuration<'a>,
    /// The ISO, or the medium with ISO and configuration.
    pub iso: &'a Path,
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
    /// Sizes of blank disks beside the config disk.
    pub blank_disks: &'a [domus_model::units::Size],
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
