// SPDX-License-Identifier: GPL-3.0-or-later
//! Leaving the initramfs: its memory is freed, its mounts move to the new root, systemd starts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use domus_system::mount;
use rustix::mount::mount_move;
use rustix::process::{chdir, chroot};

use crate::init::Boot;
use crate::trial::Guard;

const INIT: &str = "/sbin/init";

/// Makes `root` the root and runs its `/sbin/init` as process 1, with a guard beside it if what it
/// starts is on trial. Returns only if that fails.
pub(crate) fn to_systemd(root: &Path, guard: Option<Guard>) -> Boot {
    let init = root.join("usr").join(INIT.trim_start_matches('/'));
    init.symlink_metadata()
        .with_context(|| format!("the image has no {INIT}"))?;
    for dir in ["dev", "proc", "sys", "run"] {
        mount::relocate(&Path::new("/").join(dir), &root.join(dir))?;
    }
    chdir(root).context("entering the new root")?;
    // From here on nothing of the initramfs is needed but this very process.
    let device = fs::metadata("/").context("looking at the initramfs")?.dev();
    clear(Path::new("/"), device);
    mount_move(".", "/").context("moving the new root to /")?;
    chroot(".").context("changing the root")?;
    chdir("/").context("entering the new root")?;
    if let Some(guard) = guard {
        guard.start()?;
    }
    let failed = Command::new(INIT).exec();
    Err(failed).with_context(|| format!("running {INIT}"))
}

/// Deletes everything on the initramfs, which lives in RAM, and nothing on any other device.
fn clear(dir: &Path, device: u64) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if meta.dev() != device {
            continue;
        }
        if meta.is_dir() {
            clear(&path, device);
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}
