// SPDX-License-Identifier: GPL-3.0-or-later
//! Having a volume to oneself for longer than all domUs can wait: while it is copied no domU is given
//! it, and nobody destroys or replaces it.

use std::fs::{self, File};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::paths::Paths;

/// Held until it is dropped; the kernel takes it from a process that ends.
#[derive(Debug)]
pub(super) struct Claim {
    _file: File,
}

impl Claim {
    /// Has the volume `name` with others who only read it; nothing if somebody has it alone.
    pub(super) fn shared(paths: &Paths, name: &str) -> Result<Option<Self>> {
        Self::of(paths, name, FlockOperation::NonBlockingLockShared)
    }

    /// Has it alone, unless somebody has it.
    pub(super) fn alone(paths: &Paths, name: &str) -> Result<Option<Self>> {
        Self::of(paths, name, FlockOperation::NonBlockingLockExclusive)
    }

    fn of(paths: &Paths, name: &str, operation: FlockOperation) -> Result<Option<Self>> {
        // That of a device is a path.
        let path = paths.volume_locks().join(name.replace('/', "!"));
        let doing = || format!("locking {}", path.display());
        fs::create_dir_all(paths.volume_locks()).with_context(doing)?;
        let file = File::create(&path).with_context(doing)?;
        match flock(&file, operation) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(doing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_read_and_one_may_write() {
        let dir = tempfile::tempdir().expect("dir");
        let paths = Paths::below(dir.path());
        let readers = [(); 2].map(|()| Claim::shared(&paths, "web.data").expect("a lock"));
        assert!(readers.iter().all(Option::is_some));
        assert!(Claim::alone(&paths, "web.data").expect("a lock").is_none());
        assert!(
            Claim::alone(&paths, "/dev/disk/by-id/one")
                .expect("a lock")
                .is_some()
        );
        drop(readers);
        let writer = Claim::alone(&paths, "web.data").expect("a lock");
        assert!(writer.is_some() && Claim::shared(&paths, "web.data").expect("a lock").is_none());
    }
}
