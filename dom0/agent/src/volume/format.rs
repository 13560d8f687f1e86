// SPDX-License-Identifier: GPL-3.0-or-later
//! What a new volume is made with, once.

use std::path::Path;

use anyhow::Result;
use domus_model::fleet::{Disk, Fs};
use domus_system::program::Program;

/// Longest labels in bytes: ext4(5), mkfs.xfs(8), mkswap(8).
const LABELS: [(Fs, usize); 3] = [(Fs::Ext4, 16), (Fs::Xfs, 12), (Fs::Swap, 15)];

/// Makes on `target`, which is blank, what `disk` shall hold.
pub(super) fn format(target: &Path, disk: &Disk) -> Result<()> {
    let longest = LABELS.iter().find(|(fs, _)| *fs == disk.fs);
    let longest = longest.map_or(0, |(_, longest)| *longest);
    let label: String = disk.name.as_str().chars().take(longest).collect();
    let program = match disk.fs {
        Fs::Ext4 => Program::new("mke2fs").args(["-q", "-t", "ext4", "-L", &label]),
        Fs::Xfs => Program::new("mkfs.xfs").args(["-q", "-L", &label]),
        Fs::Swap => Program::new("mkswap").args(["-q", "-L", &label]),
        Fs::Scratch | Fs::None => return Ok(()),
    };
    program.arg(target).run()
}
