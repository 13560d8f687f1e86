// SPDX-License-Identifier: GPL-3.0-or-later
//! Puts a mount in the place of another: whoever looks sees the one or the other, never neither.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree, unmount,
};

use super::{Mount, Mounted};

/// A directory with what its own file system has in it, whatever is mounted on that.
#[derive(Debug)]
pub struct Bare {
    tree: OwnedFd,
}

impl Bare {
    /// Of `directory`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn of(directory: &Path) -> Result<Self> {
        let tree = clone_of(directory);
        let tree = tree.with_context(|| format!("looking beneath {}", directory.display()))?;
        Ok(Self { tree })
    }

    /// Where this process sees it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.tree.as_raw_fd()).into()
    }

    /// Makes it visible at `target` until the value is dropped.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn show(self, target: &Path) -> Result<Mounted> {
        let doing = || format!("mounting what is beneath at {}", target.display());
        fs::create_dir_all(target).with_context(doing)?;
        // What somebody left there who was killed.
        while unmount(target, UnmountFlags::DETACH).is_ok() {}
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(self.tree.as_fd(), "", CWD, target, flags).with_context(doing)?;
        let shown = Mounted {
            target: target.to_owned(),
        };
        // It is a peer of what it is a copy of: what were mounted or unmounted there would be here
        // too, and the other way round.
        mount_change(target, MountPropagationFlags::PRIVATE).with_context(doing)?;
        Ok(shown)
    }
}

fn clone_of(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, directory, flags)
}

/// What became of the mount that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is unmounted; who has a file or directory of it open keeps that.
    Unmounted,
    /// It is still there, beneath: this kernel mounts only on top.
    Beneath,
}

/// A mount that is nowhere yet.
#[derive(Debug)]
pub struct Prepared {
    mounted: OwnedFd,
    what: String,
}

impl Mount<'_> {
    /// Mounts it, nowhere yet.
    ///
    /// # Errors
    /// As [`Mount::at`].
    pub fn prepare(&self) -> Result<Prepared> {
        let what = format!("{} {}", self.kind, self.source.display());
        let mounted = self.detached();
        let mounted = mounted.with_context(|| format!("mounting {what}"))?;
        Ok(Prepared { mounted, what })
    }
}

impl Prepared {
    /// Puts it in place of the mount at `target`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn replace(self, target: &Path) -> Result<Replaced> {
        let doing = || format!("mounting {} in place of {}", self.what, target.display());
        put(self.mounted.as_fd(), target).with_context(doing)
    }
}

/// Makes the tree at `source` visible at `target`, in place of the mount there.
///
/// # Errors
/// The kernel refuses.
pub fn bind_in_place(source: &Path, target: &Path) -> Result<Replaced> {
    let doing = || format!("binding {} to {}", source.display(), target.display());
    let tree = clone_of(source).with_context(doing)?;
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
