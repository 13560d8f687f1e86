// SPDX-License-Identifier: GPL-3.0-or-later
//! Having a volume to oneself for longer than all domUs can wait: while it is copied no domU is given
//! it, and nobody destroys or replaces it.

use std::fs::File;

use anyhow::Result;
use domus_system::flock::{Share, try_lock};

use crate::paths::Paths;

/// Held until it is dropped; the kernel takes it from a process that ends.
#[derive(Debug)]
pub(super) struct Claim {
    _file: File,
}

impl Claim {
    /// Has the volume `name` with others who only read it; nothing if somebody has it alone.
    pub(super) fn shared(paths: &Paths, name: &str) -> Result<Option<Self>> {
        Self::of(paths, name, Share::Shared)
    }

    /// Has it alone, unless somebody has it.
    pub(super) fn alone(paths: &Paths, name: &str) -> Result<Option<Self>> {
        Self::of(paths, name, Share::Alone)
    }

    fn of(paths: &Paths, name: &str, share: Share) -> Result<Option<Self>> {
        // That of a device is a path.
        let path = paths.volume_locks().join(name.replace('/', "!"));
        let file = try_lock(&path, share)?;
        Ok(file.map(|file| Self { _file: file }))
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
