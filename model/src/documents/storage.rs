// SPDX-License-Identifier: GPL-3.0-or-later
//! `[storage]` of a host: its local disks, and where volumes of domUs are.

use super::forms::{Form, PART};
use super::place::At;
use super::table::Table;
use super::words::{DIRECTORY, VOLUME_GROUP, word};
use crate::fleet::VolumePool;
use crate::units::Size;

/// A disk by its name in `/dev/disk/by-id` (udev's 60-persistent-storage.rules), which stays the same
/// wherever it is plugged in.
pub(super) const DISK: Form<String> = Form {
    example: "ata-SAMSUNG_MZ7LH960_S45NNA0M",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9._+@:=-]{0,127}$",
    parse: |text| {
        let what = "name of a disk";
        let name = text.strip_prefix("/dev/disk/by-id/").unwrap_or(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._+@:=-".contains(c);
        let fits = (1..=128).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(allowed);
        let is_partition = name.rsplit_once("-part").is_some_and(|(_, number)| {
            !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
        });
        let made = ["dm-", "lvm-pv-", "md-"];
        match text {
            _ if name != text && fits => {
                let advice = format!("write what comes after that alone: {name:?}");
                word(false, text, what, &advice)
            }
            _ if is_partition => word(false, text, what, "a whole disk is given, no partition"),
            _ if made.iter().any(|prefix| name.starts_with(prefix)) => {
                word(false, text, what, "name a disk, not what is made of disks")
            }
            _ => {
                let advice = "name it by what does not change from boot to boot; on the host, `ls \
                              /dev/disk/by-id` lists them, as \"wwn-0x5000c500a1b2c3d4\"";
                word(fits && name.contains(['-', '.']), text, what, advice)
            }
        }
    },
};

/// What identifies the content of a disk, as blkid(8), mdadm(8) and lvm(8) write it.
const CONTENT: Form<String> = Form {
    example: "3f9a0b1c-2d3e-4f50-8c1d-02e4d1f0c5b9",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9:-]{3,63}$",
    parse: |text| {
        let fits = (4..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ":-".contains(c));
        let advice = "write the UUIDs that `domus-dom0 status` shows, or `blkid` on the host";
        word(fits, text, "UUID of what is on a disk", advice)
    },
};

/// `[storage]`
#[derive(Debug)]
pub(crate) struct StorageDoc {
    pub(crate) pool: Option<VolumePool>,
    pub(crate) disks: Vec<At<String>>,
    /// Whether there is a list of disks, readable or not.
    pub(crate) has_disks: bool,
    pub(crate) mirror: Option<At<bool>>,
    pub(crate) config: Option<At<Size>>,
    pub(crate) var: Option<At<Size>>,
    pub(crate) tmp: Option<At<Size>>,
    pub(crate) swap: Option<At<Size>>,
    pub(crate) group: Option<At<String>>,
    pub(crate) erase: Vec<At<String>>,
}

/// Where volumes are if the host says nothing: on its config partition.
const DEFAULT_DIRECTORY: &str = "/config/volumes";

impl StorageDoc {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let disks = "its own disk, or the two of a mirror, by their names in /dev/disk/by-id";
        let mirror = "whether each of the two disks has all of it";
        let config = "the partition for /config, which is set up from a seed";
        let var = "what keeps dom0's /var; without it, /var is in RAM";
        let tmp = "what dom0's /tmp has; without it, /tmp is in RAM";
        let group = "the LVM volume group that has all of it, and the rest for volumes";
        let erase = "UUIDs of what is on a disk and may be erased";
        let pool = "where volumes of domUs are: one of the two";
        Self {
            disks: table.list("disks", disks, &DISK),
            has_disks: table.has("disks"),
            mirror: table.flag("mirror", mirror),
            config: table.read("config", config, &PART),
            var: table.read("var", var, &PART),
            tmp: table.read("tmp", tmp, &PART),
            swap: table.read("swap", "how much dom0 may swap", &PART),
            group: table.read("volume-group", group, &VOLUME_GROUP),
            erase: table.list("erase", erase, &CONTENT),
            pool: table.table("domUs", pool, read_pool).flatten(),
        }
    }
}

fn read_pool(table: &Table<'_>) -> Option<VolumePool> {
    let directory = "a directory of dom0, in which they are files";
    let group = "an LVM volume group, in which they are logical volumes";
    let at = table.alternatives(&["directory", "volume-group"]);
    let directory = at.read("directory", directory, &DIRECTORY);
    let group = at.read("volume-group", group, &VOLUME_GROUP);
    let (has_directory, has_group) = (at.has("directory"), at.has("volume-group"));
    if has_directory && has_group {
        let message = "domUs' volumes cannot be in two places".to_owned();
        let help = "keep either directory or volume-group";
        table.notes().error(&at.place(), message, help);
        return None;
    }
    match (directory, group) {
        (Some(At { value, .. }), _) => Some(VolumePool::Directory(value)),
        (_, Some(At { value, .. })) => Some(VolumePool::VolumeGroup(value)),
        _ if has_directory || has_group => None,
        _ => Some(VolumePool::Directory(DEFAULT_DIRECTORY.to_owned())),
    }
}
