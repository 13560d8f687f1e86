// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks that are a block device of the host: a LUN, a whole disk. Domus neither makes nor formats
//! them.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_model::fleet::Disk;

/// The device at `path`, if it is one and holds what `disk` wants of it.
pub(super) fn prepare(path: &Path, disk: &Disk) -> Result<PathBuf> {
    let shown = path.display();
    let kind = fs::metadata(path)
        .with_context(|| format!("finding the device {shown}: is it connected to this host?"))?;
    let is_device = kind.file_type().is_block_device();
    ensure!(is_device, "{shown} is no block device");
    super::examine(path, disk)?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domus_model::fleet::{Backing, Fs};

    #[test]
    fn what_is_no_device_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let disk = Disk {
            name: "data".parse().expect("name"),
            backing: Backing::Device {
                path: "/dev/disk/by-id/x".into(),
            },
            fs: Fs::Ext4,
            mount: None,
        };
        let path = dir.path().join("x");
        let error = prepare(&path, &disk).expect_err("not there");
        assert!(
            format!("{error:#}").contains("is it connected"),
            "{error:#}"
        );
        fs::write(&path, "x").expect("write");
        let error = prepare(&path, &disk).expect_err("a file");
        assert!(error.to_string().ends_with("is no block device"), "{error}");
    }
}
