// SPDX-License-Identifier: GPL-3.0-or-later
//! Claiming a disk and giving it its partitions.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use domus_model::marker::CONFIG_LABEL;
use domus_model::storage::{CLAIM_AT, CLAIM_SIZE, Claim, ENDS, LABEL};
use rustix::fs::{Mode, OFlags};

use super::look::{Parts, parts, parts_of};
use crate::program::Program;

/// The partition that takes the whole disk, or what `/config` leaves of it: repart.d(5). Its type
/// says that it is LVM's, or Linux RAID (UAPI.2 Discoverable Partitions names neither).
const LVM: &str = "e6d6d379-f507-44c2-a23c-238f2a3df928";
const RAID: &str = "a19d880f-05fc-4d3b-a006-743f0f84911e";

/// Claims `device`, removes all that is on it, and gives it the partitions that the claim names, in
/// that order: whenever this is cut off, the claim is there or the disk is as it was. `config`: bytes
/// of a partition for `/config`, if there shall be one. `scratch`: a directory for definitions.
///
/// # Errors
/// Somebody has the disk, or it cannot be written.
pub fn lay(device: &Path, claim: &Claim, config: Option<u64>, scratch: &Path) -> Result<Parts> {
    let doing = || format!("preparing {}", device.display());
    let file = exclusive(device).with_context(doing)?;
    write_claim(&file, claim).with_context(doing)?;
    let behind = CLAIM_AT + CLAIM_SIZE as u64;
    empty(&file, behind).with_context(doing)?;
    drop(file);
    settle_udev()?;
    if !parts(device)?.is_empty() {
        Program::new("blockdev")
            .arg("--rereadpt")
            .arg(device)
            .run()?;
    }
    let kind = if claim.mirror { RAID } else { LVM };
    let id = claim.seed();
    define(claim, kind, config, scratch).with_context(doing)?;
    Program::new("systemd-repart")
        .args([
            "--dry-run=no",
            "--empty=force",
            "--discard=no",
            "--no-pager",
        ])
        .arg(format!("--seed={id}"))
        .arg(format!("--definitions={}", scratch.display()))
        .arg(device)
        .run()?;
    settle_udev()?;
    let parts = parts_of(device, claim)?;
    if let Some(config) = &parts.config {
        // What was somewhere in the midst of a larger partition must not look like something there.
        let file = exclusive(config).with_context(doing)?;
        empty(&file, 0).with_context(doing)?;
    }
    Ok(parts)
}

/// Writes what systemd-repart shall make, each partition behind the one before.
fn define(claim: &Claim, kind: &str, config: Option<u64>, scratch: &Path) -> Result<()> {
    if scratch.exists() {
        fs::remove_dir_all(scratch)?;
    }
    fs::create_dir_all(scratch)?;
    if let Some(size) = config {
        let text = format!(
            "[Partition]\nType=linux-generic\nLabel={CONFIG_LABEL}\nUUID={}\nSizeMinBytes={size}\n\
             SizeMaxBytes={size}\n",
            claim.config()
        );
        fs::write(scratch.join("10-config.conf"), text)?;
    }
    let id = claim.seed();
    let text = format!("[Partition]\nType={kind}\nLabel={LABEL}\nUUID={id}\n");
    fs::write(scratch.join("20-domus.conf"), text)?;
    Ok(())
}

/// Writes that what is on `device` is whole.
///
/// # Errors
/// It cannot be written.
pub fn settle(device: &Path, claim: &Claim) -> Result<()> {
    let doing = || format!("writing to {} that it is ready", device.display());
    let file = File::options()
        .write(true)
        .open(device)
        .with_context(doing)?;
    write_claim(&file, claim).with_context(doing)
}

/// Writes a sector at `place` of a disk, once all that was written before is on it.
pub(super) fn write_sector(file: &File, bytes: &[u8], place: u64) -> Result<()> {
    file.sync_all()?;
    file.write_all_at(bytes, place)?;
    file.sync_all()?;
    Ok(())
}

/// Waits until udev has looked at what was written.
fn settle_udev() -> Result<()> {
    Program::new("udevadm")
        .args(["settle", "--timeout=30"])
        .run()
}

fn exclusive(device: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(device, flags, Mode::empty())?;
    Ok(File::from(file))
}

fn write_claim(file: &File, claim: &Claim) -> Result<()> {
    write_sector(file, &claim.render(), CLAIM_AT)
}

/// Overwrites both ends with zeros, but not the claim, which ends at `behind` if there is one.
fn empty(file: &File, behind: u64) -> Result<()> {
    let size = rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?;
    let before = behind.min(CLAIM_AT);
    for (from, to) in [(0, before), (behind, ENDS), (size - ENDS, size)] {
        let zeros = vec![0; usize::try_from(to - from)?];
        file.write_all_at(&zeros, from)?;
    }
    file.sync_all().context("emptying it")
}
