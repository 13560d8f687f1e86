// SPDX-License-Identifier: GPL-3.0-or-later
//! Puts a mount in the place of another: whoever looks sees the one or the other, never neither.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use super::Mount;

/// What became of the mount that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is unmounted; who has a file or directory of it open keeps that.
    Unmounted,
    /// It is still there, beneath: this kernel mounts only on top.
    Beneath,
}

impl Mount<'_> {
    /// Mounts in place of the mount at `target`.
    ///
    /// # Errors
    /// As [`Mount::at`].
    pub fn replace(&self, target: &Path) -> Result<Replaced> {
        let doing = || format!("mounting {} in place of {}", self.kind, target.display());
        let mounted = self.detached().with_context(doing)?;
        put(mounted.as_fd(), target).with_context(doing)
    }
}

/// Makes the tree at `source` visible at `target`, in place of the mount there.
///
/// # Errors
/// The kernel refuses.
pub fn bind_in_place(source: &Path, target: &Path) -> Result<Replaced> {
    let doing = || format!("binding {} to {}", source.display(), target.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, source, flags).with_context(doing)?;
    put(tree.as_fd(), target).with_context(doing)
}

fn put(mounted: BorrowedFd<'_>, target: &Path) -> Result<Replaced> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let beneath = flags | MoveMountFlags::MOVE_MOUNT_BENEATH;
    match move_mount(mounted, "", CWD, target, beneath) {
        Ok(()) => {}
        // Linux before 6.5 does not know the flag. Nor can it be where nothing is mounted yet.
        Err(Errno::INVAL) => {
            move_mount(mounted, "", CWD, target, flags)?;
            return Ok(Replaced::Beneath);
        }
        Err(error) => return Err(error.into()),
    }
    match unmount(target, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
        other => other,
    }
    .context("unmounting the one that was there")?;
    Ok(Replaced::Unmounted)
}
