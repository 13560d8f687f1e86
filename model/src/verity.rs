// SPDX-License-Identifier: GPL-3.0-or-later
//! dm-verity: a release's root image with the hash tree behind it, and what the kernel says of it.
//! Formats: Linux, Documentation/admin-guide/device-mapper/verity.rst.

use serde::{Deserialize, Serialize};

/// Bytes of a block, of data and of the tree.
pub const BLOCK: u64 = 4096;
/// Bytes of a sector, in which device-mapper counts.
const SECTOR: u64 = 512;
/// The name of the device that a host's root is mounted from.
pub const ROOT_DEVICE: &str = "domus-root";

/// What proves a root image (`/domus/root.json` of the initramfs). The hash tree, without a
/// header, begins where the data ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verity {
    /// The hash at the root of the tree: SHA-256, 64 hexadecimal digits.
    pub root_hash: String,
    /// What each hash begins with, hexadecimal.
    pub salt: String,
    /// Blocks of data.
    pub blocks: u64,
}

impl Verity {
    /// Size of the device in sectors.
    pub fn sectors(&self) -> u64 {
        self.blocks * (BLOCK / SECTOR)
    }

    /// The parameters of the kernel's target, for an image on the block device `device`
    /// (`MAJOR:MINOR`). Nothing is optional: a block that does not hold is an error for whoever
    /// reads it, each time.
    pub fn parameters(&self, device: &str) -> String {
        let Self {
            root_hash,
            salt,
            blocks,
        } = self;
        format!("1 {device} {device} {BLOCK} {BLOCK} {blocks} {blocks} sha256 {root_hash} {salt}")
    }
}

/// Whether what was read of an image so far is what was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Integrity {
    /// All of it.
    Verified,
    /// A block was not, and its readers had an error.
    Corrupted,
}

impl Integrity {
    /// From the status of the kernel's target.
    pub fn parse(status: &str) -> Option<Self> {
        match status.split_whitespace().next() {
            Some("V") => Some(Self::Verified),
            Some("C") => Some(Self::Corrupted),
            _ => None,
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Corrupted => "CORRUPTED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_begins_where_the_data_ends() {
        let verity = Verity {
            root_hash: "ab".repeat(32),
            salt: "0102".into(),
            blocks: 3,
        };
        assert_eq!(verity.sectors(), 24);
        assert_eq!(
            verity.parameters("7:0"),
            format!("1 7:0 7:0 4096 4096 3 3 sha256 {} 0102", verity.root_hash)
        );
    }

    #[test]
    fn the_kernel_says_one_letter() {
        assert_eq!(Integrity::parse("V"), Some(Integrity::Verified));
        // Later kernels may say more behind it.
        assert_eq!(Integrity::parse("C -"), Some(Integrity::Corrupted));
        assert_eq!(Integrity::parse(""), None);
        assert_eq!(Integrity::parse("1 7:0 7:0"), None);
    }
}
