// SPDX-License-Identifier: GPL-3.0-or-later
//! Claiming a disk and giving it its partition.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::storage::{CLAIM_AT, CLAIM_SIZE, Claim, ENDS, LABEL};
use rustix::fs::{Mode, OFlags};

use super::look::{partition, parts};
use crate::program::Program;

/// The partition that takes the whole disk: repart.d(5). Its type says that it is LVM's, or Linux
/// RAID (UAPI.2 Discoverable Partitions names neither).
const LVM: &str = "e6d6d379-f507-44c2-a23c-238f2a3df928";
const RAID: &str = "a19d880f-05fc-4d3b-a006-743f0f84911e";

/// Claims `device`, removes all that is on it, and gives it the partition that the claim names, in
/// that order: whenever this is cut off, the claim is there or the disk is as it was. `scratch`: an
/// empty directory for definitions.
///
/// # Errors
/// Somebody has the disk, or it cannot be written.
pub fn lay(device: &Path, claim: &Claim, scratch: &Path) -> Result<PathBuf> {
    let doing = || format!("preparing {}", device.display());
    let file = exclusive(device).with_context(doing)?;
    write_claim(&file, claim).with_context(doing)?;
    empty(&file).with_context(doing)?;
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
    let definition = format!("[Partition]\nType={kind}\nLabel={LABEL}\nUUID={id}\n");
    fs::create_dir_all(scratch).with_context(doing)?;
    fs::write(scratch.join("10-domus.conf"), definition).with_context(doing)?;
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
    partition(device, &id.to_string())
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
    // What was written before it is on the disk before it.
    file.sync_all()?;
    file.write_all_at(&claim.render(), CLAIM_AT)?;
    file.sync_all()?;
    Ok(())
}

/// Overwrites both ends with zeros, but not the claim.
fn empty(file: &File) -> Result<()> {
    let size = rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?;
    let behind = CLAIM_AT + CLAIM_SIZE as u64;
    for (from, to) in [(0, CLAIM_AT), (behind, ENDS), (size - ENDS, size)] {
        let zeros = vec![0; usize::try_from(to - from)?];
        file.write_all_at(&zeros, from)?;
    }
    file.sync_all().context("emptying it")
}
