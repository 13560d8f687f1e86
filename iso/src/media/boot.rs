// SPDX-License-Identifier: GPL-3.0-or-later
//! GRUB on a medium, for a BIOS and for UEFI. Both run one script, on the EFI system partition of
//! the very disk that they were started from; it starts the release in a slot of that disk.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_build::toolroot::ToolRoot;
use domus_model::fleet::SerialConsole;
use domus_model::slots::{Choice, Slot};

use crate::esp::PROGRAM;
use crate::fat::Fat;
use crate::grub::{self, For};
use crate::signing::Signing;

use super::layout::BIOS;
use super::{ESP_SECTORS, LABEL, file};

/// What GRUB runs: it chooses a slot, and counts.
const CHOOSE: &str = include_str!("slots.cfg");
/// How it goes on: with the menu of the ISO in the slot, or with its signed EFI program.
const MENU: &str = include_str!("menu.cfg");
const CHAIN: &str = include_str!("chain.cfg");
/// Before that, where nobody shall type commands: only somebody who does not exist may.
const LOCK: &str = "set superusers=nobody\n";
/// What a signed GRUB does first: all that it runs is inside of it.
const EARLY: &str = "normal (memdisk)/grub.cfg\n";
/// Modules that it needs beside those of an ISO.
const MODULES: [&str; 3] = ["fat", "loadenv", "regexp"];
/// Where it says which slot to boot; FAT has the name in `domus_model::slots` too.
const BLOCK: &str = "/GRUB/DOMUS.ENV";

/// Sectors have so many bytes, for a BIOS.
const SECTOR: u64 = 512;
/// In GRUB's boot.img (its include/grub/i386/pc/boot.h): code ends where the disk's signature and
/// partition table begin.
const CODE: usize = 0x1b8;
/// There too: the sector of the next stage, 8 bytes.
const NEXT: usize = 0x5c;
/// There too: a jump over a check of the drive's number. A hard disk needs the check, for there
/// are BIOSes that pass a wrong number; grub-bios-setup puts two `nop` here as well.
const DRIVE_CHECK: usize = 0x66;
/// In the first sector of the next stage: where the rest of it begins, 8 bytes. How long it is
/// stands behind that already.
const REST: usize = 0x1f4;

/// Installs GRUB for a BIOS on `image`, as grub-bios-setup does, which wants a device.
pub(super) fn bios(tools: &ToolRoot, image: &Path, scratch: &Path) -> Result<()> {
    let doing = || format!("installing GRUB on {}", image.display());
    let core = scratch.join("core.img");
    let options = ["-p", "(,gpt2)/GRUB"].map(OsStr::new);
    let modules = MODULES.map(OsStr::new);
    grub::make(
        tools,
        For::BiosPartition,
        &[&options[..], &modules].concat(),
        &core,
    )?;
    let mut boot = fs::read(tools.path("usr/lib/grub/i386-pc/boot.img")).with_context(doing)?;
    let mut core = fs::read(&core).with_context(doing)?;
    chain(&mut boot, &mut core).with_context(doing)?;
    let file = OpenOptions::new().write(true).open(image);
    let file = file.with_context(doing)?;
    file.write_all_at(&boot[..CODE], 0)
        .and_then(|()| file.write_all_at(&core, BIOS))
        .with_context(doing)
}

/// Tells the boot sector where the next stage is, and that where the rest of it is.
fn chain(boot: &mut [u8], core: &mut [u8]) -> Result<()> {
    let room = super::ESP - BIOS;
    ensure!(
        boot.len() as u64 == SECTOR && (SECTOR..=room).contains(&(core.len() as u64)),
        "GRUB's images are not of the size that they should be"
    );
    let first = BIOS / SECTOR;
    boot[NEXT..NEXT + 8].copy_from_slice(&first.to_le_bytes());
    boot[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    core[REST..REST + 8].copy_from_slice(&(first + 1).to_le_bytes());
    Ok(())
}

/// GRUB for UEFI.
fn efi(
    tools: &ToolRoot,
    signing: Option<&Signing>,
    console: SerialConsole,
    scratch: &Path,
) -> Result<PathBuf> {
    let efi = scratch.join("BOOTX64.EFI");
    let modules = MODULES.map(OsStr::new);
    let prefix = ["-p", "/GRUB"].map(OsStr::new);
    let Some(signing) = signing else {
        grub::make(tools, For::Uefi, &[&prefix[..], &modules].concat(), &efi)?;
        return Ok(efi);
    };
    let early = file(scratch, "early.cfg", EARLY)?;
    let inside = file(scratch, "inside.tar", inside(console)?)?;
    let public = scratch.join("public");
    signing.public(&public)?;
    let unsigned = scratch.join("unsigned.efi");
    let options = [
        // It names another prefix than the one behind it.
        [OsStr::new("-m"), inside.as_os_str()],
        prefix,
        [OsStr::new("-c"), early.as_os_str()],
        [OsStr::new("--pubkey"), public.as_os_str()],
    ];
    let flag = [OsStr::new("--disable-shim-lock")];
    let options = [&options.concat()[..], &flag, &modules].concat();
    grub::make(tools, For::Chooser, &options, &unsigned)?;
    signing.sign(tools, &unsigned, &efi)?;
    Ok(efi)
}

/// The script of a signed GRUB, as an archive that GRUB reads as a disk.
fn inside(console: SerialConsole) -> Result<Vec<u8>> {
    let script = [LOCK, &grub::begin(console), CHOOSE, CHAIN].concat();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(script.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, "grub.cfg", script.as_bytes())
        .and_then(|()| archive.into_inner())
        .context("archiving GRUB's script")
}

/// Makes the EFI system partition as a file: GRUB, its script and what that keeps, the label.
pub(super) fn esp(
    tools: &ToolRoot,
    signing: Option<&Signing>,
    console: SerialConsole,
    label: &str,
    scratch: &Path,
) -> Result<PathBuf> {
    let efi = efi(tools, signing, console, scratch)?;
    let path = scratch.join("esp.img");
    let sectors = ESP_SECTORS.to_string();
    let fat = Fat::make(tools, &path, &["-T", &sectors, "-h", "64", "-s", "32"])?;
    for directory in ["/EFI", "/EFI/BOOT", "/GRUB", "/DOMUS"] {
        fat.directory(directory)?;
    }
    fat.copy(&efi, PROGRAM)?;
    let block = Choice::only(Slot::A).render();
    fat.copy(&file(scratch, "block", block)?, BLOCK)?;
    // A BIOS runs it, and UEFI where GRUB is not signed.
    let script = file(
        scratch,
        "grub.cfg",
        [&grub::begin(console), CHOOSE, MENU].concat(),
    )?;
    fat.copy(&script, "/GRUB/grub.cfg")?;
    fat.copy(&file(scratch, "label", label)?, LABEL)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_grub_find_each_other() {
        let (mut boot, mut core) = (vec![1; 512], vec![2; 100_000]);
        chain(&mut boot, &mut core).expect("chained");
        assert_eq!(boot[NEXT..NEXT + 8], 2048_u64.to_le_bytes());
        assert_eq!(boot[DRIVE_CHECK..DRIVE_CHECK + 2], [0x90, 0x90]);
        assert_eq!(core[REST..REST + 8], 2049_u64.to_le_bytes());
        assert_eq!(core[REST + 8..512], [2; 4]);
        assert!(chain(&mut boot, &mut vec![0; 2 << 20]).is_err());
        assert!(chain(&mut [], &mut core).is_err());
    }
}
