// SPDX-License-Identifier: GPL-3.0-or-later
//! A block device that gives nothing but what a root hash proves: device-mapper's verity target.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use domus_model::verity::{Integrity, Verity};

use crate::mapper::{self, Table};

const TARGET: &str = "verity";

/// Makes the device `name` for the image on the block device `image`, and returns its path.
///
/// # Errors
/// The kernel refuses. No device is left then.
pub fn open(name: &str, verity: &Verity, image: &Path) -> Result<PathBuf> {
    let table = Table {
        target: TARGET,
        sectors: verity.sectors(),
        parameters: verity.parameters(&mapper::number(image)?),
        read_only: true,
    };
    mapper::make(name, &table).with_context(|| format!("verifying {}", image.display()))
}

/// Removes the device `name`.
///
/// # Errors
/// It is in use, or there is none.
pub fn close(name: &str) -> Result<()> {
    mapper::remove(name)
}

/// Whether everything that was read of the device `name` so far was as it was built.
///
/// # Errors
/// There is no such device.
pub fn integrity(name: &str) -> Result<Integrity> {
    let doing = || format!("asking the kernel about the verity device {name}");
    let status = mapper::status(name).with_context(doing)?;
    let verity = status.filter(|(target, _)| target == TARGET);
    let (_, text) = verity
        .ok_or_else(|| anyhow!("it is none"))
        .with_context(doing)?;
    Integrity::parse(&text)
        .ok_or_else(|| anyhow!("it says {text:?}"))
        .with_context(doing)
}
