// SPDX-License-Identifier: GPL-3.0-or-later
//! The EFI system partition: a FAT with one program where UEFI looks for it on removable media.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_build::toolroot::ToolRoot;

use crate::fat::Fat;

/// Where UEFI looks for a program on removable media.
pub(crate) const PROGRAM: &str = "/EFI/BOOT/BOOTX64.EFI";
/// Where GRUB looks for its signature.
pub(crate) const SIGNATURE: &str = "/EFI/BOOT/BOOTX64.EFI.sig";

/// What the file system itself takes, with room to spare, in bytes.
const OVERHEAD: u64 = 512 << 10;
/// The catalogue of a CD counts sectors of 512 bytes in 16 bits.
const LARGEST: u64 = 65_535 * 512;

/// Writes the partition image `to` with the program `efi`, and its signature if it has one.
pub(crate) fn write(
    tools: &ToolRoot,
    efi: &Path,
    signature: Option<&Path>,
    to: &Path,
) -> Result<()> {
    let doing = || format!("making {}", to.display());
    let size = (efi.metadata().with_context(doing)?.len() + OVERHEAD).next_multiple_of(2048);
    ensure!(
        size <= LARGEST,
        "{}: its {size} bytes are more than a CD can say ({LARGEST}); leave packages out of the \
         initramfs",
        doing()
    );
    let sectors = (size / 512).to_string();
    let fat = Fat::make(tools, to, &["-T", &sectors, "-h", "64", "-s", "32"])?;
    fat.directory("/EFI")?;
    fat.directory("/EFI/BOOT")?;
    fat.copy(efi, PROGRAM)?;
    signature.map_or(Ok(()), |file| fat.copy(file, SIGNATURE))
}
