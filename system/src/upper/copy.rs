// SPDX-License-Identifier: GPL-3.0-or-later
//! Copies files and directories as they are, with owner, mode, times and attributes.

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{
    FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink,
};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};

use super::is_opaque;
use crate::overlay::OPAQUE;

/// What an overlay keeps for itself.
const OVERLAY: &str = "trusted.overlay.";

/// What a copy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// An upper directory, in which directories can hide those below.
    Upper,
    /// What is seen.
    Sight,
}

/// A directory and all that is in it.
pub(super) fn tree(from: &Path, to: &Path, what: For) -> Result<()> {
    directory(from, to)?;
    if what == For::Upper && is_opaque(from) {
        lsetxattr(to, OPAQUE, b"y", XattrFlags::empty())
            .with_context(|| format!("hiding what is below {}", to.display()))?;
    }
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => tree(&from, &to, what)?,
            false => file(&from, &to)?,
        }
    }
    Ok(())
}

/// A directory without what is in it.
pub(super) fn directory(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("making {}", to.display());
    if !to.is_dir() {
        fs::create_dir(to).with_context(doing)?;
    }
    let meta = fs::metadata(from).with_context(doing)?;
    attributes(from, to, &meta).with_context(doing)
}

/// Whatever is no directory. A socket is its program's alone, and is left out.
pub(super) fn file(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {} to {}", from.display(), to.display());
    let meta = from.symlink_metadata().with_context(doing)?;
    let kind = meta.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    if kind.is_symlink() {
        symlink(fs::read_link(from).with_context(doing)?, to).with_context(doing)?;
    } else if kind.is_file() {
        let mut source = File::open(from).with_context(doing)?;
        let mut options = File::options();
        // Nobody else's until it has its mode.
        let target = options.write(true).create_new(true).mode(0o600).open(to);
        std::io::copy(&mut source, &mut target.with_context(doing)?).with_context(doing)?;
    } else {
        let kind = match (
            kind.is_fifo(),
            kind.is_char_device(),
            kind.is_block_device(),
        ) {
            (true, _, _) => FileType::Fifo,
            (_, true, _) => FileType::CharacterDevice,
            (_, _, true) => FileType::BlockDevice,
            _ => bail!("{}: it is nothing that can be copied", doing()),
        };
        mknodat(CWD, to, kind, Mode::empty(), meta.rdev()).with_context(doing)?;
    }
    attributes(from, to, &meta).with_context(doing)
}

fn attributes(from: &Path, to: &Path, meta: &Metadata) -> Result<()> {
    lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    if !meta.is_symlink() {
        fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    for name in names(from)? {
        if !name.starts_with(OVERLAY) {
            let mut value = vec![0; 64 << 10];
            let length = lgetxattr(from, name.as_str(), &mut value)?;
            lsetxattr(to, name.as_str(), &value[..length], XattrFlags::empty())?;
        }
    }
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(meta.atime(), meta.atime_nsec()),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The names of a file's extended attributes.
fn names(path: &Path) -> Result<Vec<String>> {
    let mut buffer = vec![0; 64 << 10];
    let length = llistxattr(path, &mut buffer)?;
    let names = buffer[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}
