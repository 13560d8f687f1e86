// SPDX-License-Identifier: GPL-3.0-or-later
//! dom0's `/var`, `/tmp` and swap on its local disks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use domus_system::atomic;
use domus_system::mount::{Attributes, Bare, Mount, table};
use domus_system::overlay::Overlay;
use domus_system::program::Program;
use domus_system::upper;
use rustix::fs::StatVfsMountFlags;

use super::MOUNTED;
use crate::context::Context;
use crate::warn;

/// A `/var` with less room than this, in bytes, is full: what starts would fail for it.
const ROOM: u64 = 16 << 20;
/// As many files at least must still fit.
const FILES: u64 = 64;
/// Which release `/var` was last used with.
const RELEASE: &str = "release";

/// Lays what is on `device` over the `/var` of the image, in place of what is in RAM.
pub(super) fn var(context: &Context, device: &Path) -> Result<()> {
    let place = context.paths.at(MOUNTED).join("var");
    let target = context.paths.at("/var");
    let is_there = |mount: &table::Entry| mount.upper() == Some(place.join("upper"));
    if table::at(&target)?.iter().any(is_there) {
        return Ok(());
    }
    if table::at(&place)?.is_empty() {
        check(device)?;
        let mut mount = Mount::new("ext4", device, Attributes::NoSuidDev);
        mount.options.push(("errors", "remount-ro".into()));
        mount.at(&place)?;
    }
    writable(&place)?;
    meet(context, &place)?;
    let image = Bare::of(&context.paths.at("/"))?.show(&context.paths.at(MOUNTED).join("image"))?;
    let below = image.path().join("var");
    let overlay = Overlay::new(vec![below.clone()], &below, &place)?;
    let mut mount = overlay.mount();
    // What these would keep in the upper directory is true of one lower directory only.
    for option in ["redirect_dir", "index", "metacopy"] {
        mount.options.push((option, "off".into()));
    }
    mount.prepare()?.replace(&target)?;
    // The journal of this boot goes there, too.
    let flush = ["--no-block", "start", "systemd-journal-flush.service"];
    if let Err(error) = Program::new("systemctl").args(flush).run() {
        warn(&error.context("keeping the journal in /var"));
    }
    Ok(())
}

/// Repairs what can be repaired without asking: e2fsck(8) exits with 1 if it did.
fn check(device: &Path) -> Result<()> {
    Program::new("e2fsck")
        .arg("-p")
        .arg(device)
        .answer(&[1])
        .map(drop)
}

/// Makes sure that there is room where a file system is mounted.
pub(super) fn has_room(place: &Path) -> Result<()> {
    let shown = place.display();
    let room = rustix::fs::statvfs(place).with_context(|| format!("looking at {shown}"))?;
    ensure!(
        !room.f_flag.contains(StatVfsMountFlags::RDONLY),
        "it is read-only: its disk had an error, which `dmesg` has"
    );
    let free = room.f_bfree.saturating_mul(room.f_frsize);
    ensure!(
        free >= ROOM && room.f_ffree >= FILES,
        "it is full: {} MiB and {} files are left; what fills it is in {shown}/upper",
        free >> 20,
        room.f_ffree
    );
    Ok(())
}

/// Makes sure that something can be written there, too.
fn writable(place: &Path) -> Result<()> {
    has_room(place)?;
    let probe = place.join("probe");
    atomic::write(&probe, b"probe", 0o600)?;
    fs::remove_file(&probe).with_context(|| format!("removing {}", probe.display()))
}

/// Makes what was kept with another release fit this one's: what was written stays, what was removed
/// from the image's is the new image's again.
fn meet(context: &Context, place: &Path) -> Result<()> {
    let own = context.release_id().1.unwrap_or_default();
    let note = place.join(RELEASE);
    if fs::read_to_string(&note).is_ok_and(|last| last == own) {
        return Ok(());
    }
    let upper = place.join("upper");
    if upper.exists() {
        upper::restore_removed(&upper)?;
    }
    atomic::write(&note, own.as_bytes(), 0o600)
}

/// Makes `/tmp` anew on `device`: nothing there outlasts a boot.
pub(super) fn tmp(context: &Context, device: &Path) -> Result<()> {
    let target = context.paths.at("/tmp");
    if table::at(&target)?.iter().any(|mount| mount.kind == "ext4") {
        return Ok(());
    }
    Program::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", "tmp"])
        .arg(device)
        .run()?;
    Mount::new("ext4", device, Attributes::NoSuidDev).at(&target)?;
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(&target, everybody).context("giving /tmp to everybody")
}

/// Swaps to `device`.
pub(super) fn swap(_: &Context, device: &Path) -> Result<()> {
    let own = device.canonicalize();
    let own = own.with_context(|| format!("finding {}", device.display()))?;
    let swaps = fs::read_to_string("/proc/swaps").context("reading /proc/swaps")?;
    if swaps
        .lines()
        .any(|line| line.split(' ').next() == own.to_str())
    {
        return Ok(());
    }
    Program::new("mkswap").arg(device).run()?;
    Program::new("swapon").arg(device).run()
}
