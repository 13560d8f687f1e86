// SPDX-License-Identifier: GPL-3.0-or-later
//! The disks that a host has, by what the kernel shows of them: Linux, Documentation/ABI, sysfs-block.
//! None of them is opened.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::storage::health::{Mute, Physical};

use super::smart::SLEEPS;
use crate::disks::words;

/// A disk, and how it can be asked for its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub disk: Physical,
    /// The node to ask, or why it is not asked.
    pub ask: Result<PathBuf, Mute>,
}

/// Every disk of the machine below `root`, by name. Partitions, what is made of other disks, and
/// drives without a medium are left out; drives for CDs are no disks.
///
/// # Errors
/// The kernel's list cannot be read. None is there where nothing of `/sys` is.
pub fn disks(root: &Path) -> Result<Vec<Found>> {
    let class = root.join("sys/class/block");
    let entries = match fs::read_dir(&class) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("listing {}", class.display()))?,
    };
    let mut found: Vec<Found> = entries
        .flatten()
        .filter_map(|entry| disk(root, &entry.path()))
        .collect();
    found.sort_by(|a, b| a.disk.device.cmp(&b.disk.device));
    Ok(found)
}

fn disk(root: &Path, dir: &Path) -> Option<Found> {
    let device = dir.file_name()?.to_str()?.to_owned();
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    // What is made of other disks has no device, a way to one of several has no node, and eMMC shows
    // the places for its boot loader as disks.
    let is_disk = dir.join("device").exists()
        && !dir.join("partition").exists()
        && read("hidden").trim() != "1"
        && !device.contains("boot")
        && !["sr", "fd"].iter().any(|kind| device.starts_with(kind));
    let size = read("size")
        .trim()
        .parse::<u64>()
        .unwrap_or(0)
        .saturating_mul(512);
    if !is_disk || size == 0 {
        return None;
    }
    let can_say = device.starts_with("sd") || device.starts_with("nvme");
    let ask = match (can_say, read("device/power/runtime_status").trim()) {
        (false, _) => Err(Mute::Kind),
        // Whoever opens it wakes it.
        (true, "suspended") => Err(Mute::NotRead(SLEEPS.to_owned())),
        (true, _) => Ok(root.join("dev").join(&device)),
    };
    let serial = words(&read("device/serial")).or_else(|| words(&read("serial")));
    let disk = Physical {
        model: words(&read("device/model")),
        serial,
        size,
        named: None,
        device,
    };
    Some(Found { disk, ask })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_told_from_all_else() {
        let root = tempfile::tempdir().expect("dir");
        assert_eq!(disks(root.path()).expect("none"), []);
        let write = |path: &str, text: &str| {
            let path = root.path().join("sys/class/block").join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, text).expect("write");
        };
        for name in [
            "sda",
            "sdb",
            "sr0",
            "nvme0n1",
            "nvme0c0n1",
            "vda",
            "mmcblk0boot0",
        ] {
            write(&format!("{name}/size"), "2097152\n");
            write(&format!("{name}/device/model"), "Model of it   \n");
        }
        write("nvme0c0n1/hidden", "1\n");
        write("nvme0n1/device/serial", "S64G \u{1b}[2J\n");
        write("vda/serial", "virtio-1");
        write("sdb/device/power/runtime_status", "suspended\n");
        write("sda1/partition", "1\n");
        write("sda1/size", "2048\n");
        write("dm-0/size", "2048\n");
        write("sdc/size", "0\n");
        write("sdc/device/model", "card reader\n");
        let found = disks(root.path()).expect("disks");
        let shown = found.iter().map(|it| {
            let Physical { device, serial, .. } = &it.disk;
            (device.as_str(), serial.as_deref(), it.ask.is_ok())
        });
        let expected = [
            ("nvme0n1", Some("S64G [2J"), true),
            ("sda", None, true),
            ("sdb", None, false),
            ("vda", Some("virtio-1"), false),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(found[0].disk.model.as_deref(), Some("Model of it"));
        assert_eq!(found[0].disk.size, 1 << 30);
        assert_eq!(found[1].ask, Ok(root.path().join("dev/sda")));
        assert_eq!(found[2].ask, Err(Mute::NotRead(SLEEPS.to_owned())));
        assert_eq!(found[3].ask, Err(Mute::Kind));
    }
}
