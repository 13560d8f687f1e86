// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading ext4 file systems in files, without mounting them.

use crate::disks::MIB;
use crate::ran::Ran;
use std::path::Path;

/// An ext4 file system in a file.
#[derive(Debug)]
pub struct Ext4 {
    /// As e2fsprogs name it.
    device: String,
}

impl Ext4 {
    /// The one that fills `file`.
    pub fn of(file: &Path) -> Self {
        Self {
            device: file.display().to_string(),
        }
    }

    /// The one in the first partition of `disk`, see [`crate::disks::partitioned`].
    pub fn in_partition(disk: &Path) -> Self {
        Self::at(disk, MIB)
    }

    /// The one that begins at `offset` of `disk`.
    pub fn at(disk: &Path, offset: u64) -> Self {
        Self {
            device: format!("{}?offset={offset}", disk.display()),
        }
    }

    /// Checks that it was unmounted and has no error; changes nothing.
    ///
    /// # Panics
    /// It was not, or it has.
    #[track_caller]
    pub fn assert_clean(&self) {
        let header = Ran::program("dumpe2fs", &["-h", &self.device]);
        assert!(
            header.contains("Filesystem state:         clean")
                && !header.contains("needs_recovery"),
            "{header}"
        );
        Ran::program("e2fsck", &["-f", "-n", &self.device]);
    }

    /// The text of a file in it; nothing if there is none.
    pub fn read(&self, path: &str) -> String {
        Ran::program("debugfs", &["-R", &format!("cat {path}"), &self.device])
    }

    /// Copies a file out of it.
    ///
    /// # Panics
    /// There is no such file.
    pub fn copy_out(&self, path: &str, to: &Path) {
        let request = format!("dump {path} {}", to.display());
        Ran::program("debugfs", &["-R", &request, &self.device]);
        assert!(to.exists(), "no {path} in {}", self.device);
    }
}
