// SPDX-License-Identifier: GPL-3.0-or-later
//! Mounts, by the kernel's file-descriptor interface, so that an error carries the kernel's words.

mod replace;
pub mod table;

pub use replace::{Bare, Replaced, bind_in_place};

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind_recursive, mount_move,
    move_mount, unmount,
};

/// What to mount: a file system type, its source, options and attributes.
#[derive(Debug, Clone)]
pub struct Mount<'a> {
    /// Type as the kernel names it: `ext4`, `squashfs`, `overlay`, `tmpfs` …
    pub kind: &'a str,
    /// Device, file or name.
    pub source: &'a Path,
    /// Options with a value, in order; `lowerdir+` may repeat.
    pub options: Vec<(&'a str, String)>,
    /// Options without a value (`ro`, `noload` …).
    pub flags: Vec<&'a str>,
    /// Attributes of the mount itself.
    pub attributes: Attributes,
}

/// Attributes of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// None.
    Plain,
    /// `nosuid,nodev`.
    NoSuidDev,
    /// `nosuid,nodev,noexec`: data, never programs.
    Data,
    /// Read-only, `nosuid,nodev,noexec`.
    ReadOnlyData,
    /// Read-only.
    ReadOnly,
}

impl Attributes {
    fn flags(self) -> MountAttrFlags {
        let (ro, nosuid, nodev, noexec) = (
            MountAttrFlags::MOUNT_ATTR_RDONLY,
            MountAttrFlags::MOUNT_ATTR_NOSUID,
            MountAttrFlags::MOUNT_ATTR_NODEV,
            MountAttrFlags::MOUNT_ATTR_NOEXEC,
        );
        match self {
            Self::Plain => MountAttrFlags::empty(),
            Self::NoSuidDev => nosuid | nodev,
            Self::Data => nosuid | nodev | noexec,
            Self::ReadOnlyData => ro | nosuid | nodev | noexec,
            Self::ReadOnly => ro,
        }
    }
}

impl<'a> Mount<'a> {
    /// A file system on `source`, written to only if `attributes` and `flags` allow.
    pub fn new(kind: &'a str, source: &'a Path, attributes: Attributes) -> Self {
        Self {
            kind,
            source,
            options: Vec::new(),
            flags: Vec::new(),
            attributes,
        }
    }

    /// A file system in RAM with `mode` for its root (octal, as `755`).
    pub fn ram(mode: &str) -> Self {
        let mut mount = Self::new("tmpfs", Path::new("domus"), Attributes::NoSuidDev);
        mount.options.push(("mode", mode.into()));
        mount
    }

    /// A read-only file system, its superblock opened read-only too.
    pub fn read_only(kind: &'a str, source: &'a Path) -> Self {
        let mut mount = Self::new(kind, source, Attributes::ReadOnly);
        mount.flags.push("ro");
        mount
    }

    /// An overlay of `lower` directories, the first uppermost, with `upper` and `work` beside it.
    pub fn overlay(lower: &[PathBuf], upper: &Path, work: &Path) -> Self {
        let mut mount = Self::new("overlay", Path::new("domus"), Attributes::Plain);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        mount
            .options
            .extend(lower.iter().map(|dir| ("lowerdir+", text(dir))));
        mount.options.push(("upperdir", text(upper)));
        mount.options.push(("workdir", text(work)));
        mount
    }

    /// Mounts at `target`, which is made if it is missing.
    ///
    /// # Errors
    /// The kernel refuses; its own explanation is in the error where it gives one.
    pub fn at(&self, target: &Path) -> Result<()> {
        let doing = || {
            let (kind, source) = (self.kind, self.source.display());
            format!("mounting {kind} {source} on {}", target.display())
        };
        fs::create_dir_all(target).with_context(doing)?;
        let mounted = self.detached().with_context(doing)?;
        move_mount(
            mounted.as_fd(),
            "",
            CWD,
            target,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .with_context(doing)
    }

    /// Mounts it nowhere yet.
    fn detached(&self) -> Result<OwnedFd> {
        let context = fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .with_context(|| format!("this kernel has no {}", self.kind))?;
        self.configure(&context).map_err(|e| explain(&context, e))
    }

    /// Whether the kernel refuses it because somebody has it mounted already, anywhere.
    ///
    /// # Errors
    /// The kernel has no such file system.
    pub(crate) fn is_busy(&self) -> Result<bool> {
        let context = fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .with_context(|| format!("this kernel has no {}", self.kind))?;
        Ok(matches!(self.configure(&context), Err(Errno::BUSY)))
    }

    fn configure(&self, context: &OwnedFd) -> Result<OwnedFd, Errno> {
        let fd: BorrowedFd<'_> = context.as_fd();
        fsconfig_set_string(fd, "source", self.source)?;
        for flag in &self.flags {
            fsconfig_set_flag(fd, *flag)?;
        }
        for (key, value) in &self.options {
            fsconfig_set_string(fd, *key, value.as_str())?;
        }
        fsconfig_create(fd)?;
        fsmount(fd, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes.flags())
    }
}

/// The kernel's own words for the last failure on a file system context, if it has any.
fn explain(context: &OwnedFd, error: Errno) -> anyhow::Error {
    let mut words = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(n @ 1..) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..n]);
        words.push(
            text.trim()
                .trim_start_matches(['e', 'w', 'i', ' '])
                .to_owned(),
        );
    }
    match words.is_empty() {
        true => anyhow!(error),
        false => anyhow!("{} ({error})", words.join("; ")),
    }
}

/// Makes the tree at `source` visible at `target` too, mounts below it included.
///
/// # Errors
/// The kernel refuses.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(mount_bind_recursive(source, target)?))
        .with_context(|| format!("binding {} to {}", source.display(), target.display()))
}

/// Moves the mount at `source` to `target`.
///
/// # Errors
/// The kernel refuses.
pub fn relocate(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(mount_move(source, target)?))
        .with_context(|| format!("moving {} to {}", source.display(), target.display()))
}

/// A mount that is gone when this value is dropped.
#[derive(Debug)]
pub struct Mounted {
    target: PathBuf,
}

impl Mounted {
    /// Mounts `mount` at `target` until the value is dropped.
    ///
    /// # Errors
    /// As [`Mount::at`].
    pub fn new(mount: &Mount<'_>, target: &Path) -> Result<Self> {
        mount.at(target)?;
        Ok(Self {
            target: target.to_owned(),
        })
    }

    /// Makes the file or tree at `source` visible at `target` until the value is dropped.
    ///
    /// # Errors
    /// The kernel refuses, or there is nothing at `target`.
    pub fn bound(source: &Path, target: &Path) -> Result<Self> {
        let doing = || format!("binding {} to {}", source.display(), target.display());
        mount_bind_recursive(source, target).with_context(doing)?;
        Ok(Self {
            target: target.to_owned(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.target
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily only if somebody still looks: nothing may stay mounted.
        if unmount(&self.target, UnmountFlags::empty()).is_err() {
            let _ = unmount(&self.target, UnmountFlags::DETACH);
        }
    }
}
