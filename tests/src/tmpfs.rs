// SPDX-License-Identifier: GPL-3.0-or-later
//! A small file system in RAM, to be filled.

use crate::ran::Ran;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs.
#[derive(Debug)]
pub struct Tmpfs {
    dir: PathBuf,
    mounted: bool,
}

impl Tmpfs {
    /// Mounts one of `mib` MiB on `dir`, which is made.
    ///
    /// # Panics
    /// It cannot be mounted.
    pub fn new(dir: &Path, mib: u64) -> Self {
        crate::require_root();
        std::fs::create_dir_all(dir).expect("a directory");
        let size = format!("size={mib}m");
        let path = dir.display().to_string();
        Ran::program("mount", &["-t", "tmpfs", "-o", &size, "domus-test", &path]);
        Self {
            dir: dir.to_owned(),
            mounted: true,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Unmounts it.
    ///
    /// # Panics
    /// It is still in use.
    pub fn unmount(mut self) {
        self.mounted = false;
        Ran::program("umount", &[&self.dir.display().to_string()]);
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if self.mounted {
            // The test has failed: what matters now is that nothing stays.
            let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
        }
    }
}
