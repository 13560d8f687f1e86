// SPDX-License-Identifier: GPL-3.0-or-later
//! What a host keeps on disks.

use crate::units::Size;
use serde::Serialize;

/// Where a host keeps what must outlast a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// The volumes of domUs.
    #[serde(rename = "domUs")]
    pub domus: VolumePool,
    /// What its own disks shall hold, if it says so.
    #[serde(flatten)]
    pub local: Option<LocalStorage>,
}

/// What the local disks of a host shall hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LocalStorage {
    /// One disk, or the two of a mirror, by their names in `/dev/disk/by-id`.
    pub disks: Vec<String>,
    /// Whether each of the two has all of it.
    #[serde(skip_serializing_if = "is_false")]
    pub mirror: bool,
    /// The size of the partition for `/config`, which a seed fills; with none there is none.
    pub config: Option<Size>,
    /// The size of what keeps dom0's `/var`; with none it is in RAM.
    pub var: Option<Size>,
    /// The size of dom0's `/tmp`; with none it is in RAM.
    pub tmp: Option<Size>,
    /// How much dom0 may swap.
    pub swap: Option<Size>,
    /// The LVM volume group that has all of it, and the rest of the disks for volumes.
    pub volume_group: String,
    /// UUIDs of what may be erased.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub erase: Vec<String>,
}

impl LocalStorage {
    /// Whether what has this UUID may be erased. Tools write one UUID in several ways.
    pub fn erases(&self, id: &str) -> bool {
        let plain = |id: &str| -> String {
            let digits = id.chars().filter(char::is_ascii_alphanumeric);
            digits.map(|c| c.to_ascii_lowercase()).collect()
        };
        let id = plain(id);
        !id.is_empty() && self.erase.iter().any(|named| plain(named) == id)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Room on a config partition for repository, state and file system, in bytes.
pub const CONFIG_SLACK: u64 = 64 << 20;

/// Bytes that volumes of these sizes take as files.
pub fn room(sizes: impl Iterator<Item = Size>) -> u64 {
    const EACH: u64 = 8 << 20;
    let sizes = sizes.map(|size| size.bytes().saturating_add(EACH));
    sizes.fold(0, u64::saturating_add)
}

/// Where volumes are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumePool {
    /// Files in this directory of dom0, by its absolute path.
    Directory(String),
    /// Logical volumes of this LVM volume group.
    VolumeGroup(String),
}

impl VolumePool {
    /// Whether they are on the config partition.
    pub fn is_on_config(&self) -> bool {
        match self {
            Self::Directory(directory) => {
                let below = directory.strip_prefix("/config");
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::VolumeGroup(_) => false,
        }
    }
}
