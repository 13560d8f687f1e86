// SPDX-License-Identifier: GPL-3.0-or-later
//! A host's local disks: whose they are, what is on them, and what follows. Pure: what touches disks
//! is `domus-system`.

mod claim;
mod decide;
pub mod health;
pub mod mirror;
mod note;
pub mod seed;

pub use claim::{CLAIM_AT, CLAIM_SIZE, Claim, ClaimState};
pub use decide::{Plan, Step, decide};
pub use note::{Note, Standing};

use crate::etc::stable_uuid;
use crate::names::Name;
use uuid::Uuid;

/// Logical volume that keeps dom0's `/var`. No volume of a domU can have its name, nor those below:
/// they begin with a letter or digit.
pub const VAR: &str = "_var";
/// Logical volume of dom0's `/tmp`.
pub const TMP: &str = "_tmp";
/// Logical volume that dom0 swaps to.
pub const SWAP: &str = "_swap";
/// The label of the partition on each disk that has all but `/config`.
pub const LABEL: &str = "domus-storage";
/// So many bytes at both ends of a blank disk are zero: all that a table, a member of an array and
/// the first partition, which begins at 1 MiB, begin with.
pub const ENDS: u64 = 2 << 20;

/// A disk that a host's document names, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name in `/dev/disk/by-id`.
    pub name: String,
    /// What was found.
    pub look: Look,
}

/// What looking at a disk gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// There is none of that name.
    Absent,
    /// It could not be read, or what is there is no disk; why.
    Unreadable(String),
    /// It was read.
    Disk(Disk),
}

/// What is on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its size in bytes.
    pub size: u64,
    /// Whether nothing can be written to it.
    pub read_only: bool,
    /// Whether somebody has it, or a partition of it: mounted, part of an array or volume group.
    pub in_use: bool,
    /// Whether [`ENDS`] at both ends are zero, but for the place of a claim.
    pub zero: bool,
    /// What Domus wrote on it, if it did.
    pub claim: Option<Claim>,
    /// The UUIDs of its partitions.
    pub partitions: Vec<String>,
    /// The size in bytes of the one that its claim has for `/config`.
    pub config: Option<u64>,
    /// All that `blkid` knows of it and its partitions.
    pub found: Vec<Found>,
}

/// Something that `blkid` knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `/dev/sda`, or a partition of it.
    pub device: String,
    /// Whether it is on a partition.
    pub inside: bool,
    /// `ext4`, `gpt table`, `linux_raid_member` …
    pub what: String,
    /// Its UUID, as `blkid` writes it; some kinds have none.
    pub id: Option<String>,
}

/// The disks of one host belong together: by this they are known as its own.
pub fn set_of(fleet: &Name, host: &Name) -> Uuid {
    stable_uuid(fleet, "storage", host)
}
