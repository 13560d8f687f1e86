// SPDX-License-Identifier: GPL-3.0-or-later
//! Loop devices: disks to be overwritten.

use crate::disks::blank;
use crate::ran::Ran;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file as a disk. It is detached when this value is dropped.
#[derive(Debug)]
pub struct Loop {
    /// Its device.
    pub device: String,
    /// The file behind it.
    pub file: PathBuf,
}

impl Loop {
    /// A blank one of `mib` MiB.
    ///
    /// # Panics
    /// There is no loop device to have.
    pub fn blank(file: &Path, mib: u64) -> Self {
        Self::of(&blank(file, mib))
    }

    /// That of a file, or of another device.
    ///
    /// # Panics
    /// There is no loop device to have.
    pub fn of(file: &Path) -> Self {
        crate::require_root();
        let path = file.display().to_string();
        let device = Ran::program("losetup", &["--find", "--show", "--partscan", &path]);
        Self {
            device: device.trim().to_owned(),
            file: file.to_owned(),
        }
    }

    /// Tells the kernel of a partition that begins at 1 MiB, and returns its device: not every
    /// kernel reads partition tables.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn partition(&self, mib: u64) -> String {
        let partition = format!("{}p1", self.device);
        if !Path::new(&partition).exists() {
            let sectors = (mib * 2048).to_string();
            Ran::program("addpart", &[&self.device, "1", "2048", &sectors]);
        }
        partition
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if Path::new(&format!("{}p1", self.device)).exists() {
            let _ = Command::new("delpart").args([&self.device, "1"]).status();
        }
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

/// Something mounted. It is unmounted when this value is dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts `device` read-only on `point`, which is made.
    ///
    /// # Panics
    /// It cannot be mounted.
    pub fn new(device: &str, point: &Path) -> Self {
        std::fs::create_dir_all(point).expect("a directory");
        let point_text = point.display().to_string();
        Ran::program("mount", &["-o", "ro", device, &point_text]);
        Self(point.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
