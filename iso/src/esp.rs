// SPDX-License-Identifier: GPL-3.0-or-later
//! The EFI system partition: a FAT with one program where UEFI looks for it on removable media.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_build::toolroot::ToolRoot;

/// What the file system itself takes, with room to spare, in bytes.
const OVERHEAD: u64 = 512 << 10;
/// The catalogue of a CD counts sectors of 512 bytes in 16 bits.
const LARGEST: u64 = 65_535 * 512;

/// Writes the partition image `to` with the program `efi`.
pub(crate) fn write(tools: &ToolRoot, efi: &Path, to: &Path) -> Result<()> {
    let doing = || format!("making {}", to.display());
    let size = (efi.metadata().with_context(doing)?.len() + OVERHEAD).next_multiple_of(2048);
    ensure!(
        size <= LARGEST,
        "{}: its {size} bytes are more than a CD can say ({LARGEST}); leave packages out of the \
         initramfs",
        doing()
    );
    let run = |name: &str, arguments: &[&str], paths: &[&Path]| {
        let program = tools
            .program(name)?
            .args(arguments)
            .arg("-i")
            .arg(to)
            .args(paths);
        program.env("TZ", "UTC").run().with_context(doing)
    };
    let sectors = (size / 512).to_string();
    run(
        "mformat",
        &[
            "-C", "-T", &sectors, "-h", "64", "-s", "32", "-N", "444f4d55",
        ],
        &[Path::new("::")],
    )?;
    run("mmd", &[], &[Path::new("::/EFI"), Path::new("::/EFI/BOOT")])?;
    // Without -m mcopy takes the time from SOURCE_DATE_EPOCH, as the others do.
    run("mcopy", &[], &[efi, Path::new("::/EFI/BOOT/BOOTX64.EFI")])
}
