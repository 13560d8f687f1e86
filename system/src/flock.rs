// SPDX-License-Identifier: GPL-3.0-or-later
//! Locks between processes: a file that is locked as long as it is open. The kernel takes the lock from
//! a process that ends: flock(2).

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// With whom a lock is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// With nobody.
    Alone,
    /// With all who share it, too.
    Shared,
}

/// Takes the lock at `path`, whose file is made if there is none; nothing if others have it. It is had
/// until the file is dropped.
///
/// # Errors
/// The file cannot be made or locked.
pub fn try_lock(path: &Path, share: Share) -> Result<Option<File>> {
    let doing = || format!("locking {}", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(doing)?;
    }
    let file = File::create(path).with_context(doing)?;
    let operation = match share {
        Share::Alone => FlockOperation::NonBlockingLockExclusive,
        Share::Shared => FlockOperation::NonBlockingLockShared,
    };
    match flock(&file, operation) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(doing),
    }
}
