// SPDX-License-Identifier: GPL-3.0-or-later
//! Partition tables, written by sfdisk of the tool root: GPT, so that partitions have names and
//! disks may be large.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use domus_build::toolroot::ToolRoot;
use uuid::Uuid;

/// In bytes; partitions begin at multiples of it.
pub(crate) const MIB: u64 = 1 << 20;
/// What a GPT takes at the end of a disk, in bytes (33 sectors), as whole MiB.
pub(crate) const TAIL: u64 = MIB;
const SECTOR: u64 = 512;

/// What a partition is for (GUIDs: UEFI specification 5.3.3, and the Discoverable Partitions
/// Specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// GRUB, for a BIOS.
    BiosBoot,
    /// EFI system partition.
    Efi,
    /// Anything that Linux knows.
    Linux,
    /// A file system that firmware reads, and starts nothing from by itself.
    Data,
}

impl Kind {
    fn guid(self) -> &'static str {
        match self {
            Self::BiosBoot => "21686148-6449-6E6F-744E-656564454649",
            Self::Efi => "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
            Self::Linux => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
            Self::Data => "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
        }
    }
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Where it begins, in bytes.
    pub(crate) start: u64,
    /// How long it is, in bytes; all that is left, if it does not say.
    pub(crate) size: Option<u64>,
}

/// Makes these the only partitions of the disk or image `disk`. Signatures of what was there
/// before are wiped. UUIDs are derived from `seed`, or random without one.
///
/// # Errors
/// sfdisk fails.
pub(crate) fn write(
    tools: &ToolRoot,
    disk: &Path,
    partitions: &[Partition],
    seed: Option<Uuid>,
) -> Result<()> {
    tools
        .program("sfdisk")?
        .args(["--quiet", "--wipe", "always", "--wipe-partitions", "always"])
        .arg(disk)
        .input(script(partitions, seed))
        .run()
        .with_context(|| format!("writing the partition table of {}", disk.display()))
}

/// What sfdisk reads.
fn script(partitions: &[Partition], seed: Option<Uuid>) -> String {
    let mut text = "label: gpt\nunit: sectors\n".to_owned();
    if let Some(seed) = seed {
        let _ = writeln!(text, "label-id: {seed}");
    }
    text.push('\n');
    for partition in partitions {
        let _ = write!(text, "start={}, ", partition.start / SECTOR);
        if let Some(size) = partition.size {
            let _ = write!(text, "size={}, ", size / SECTOR);
        }
        let (kind, name) = (partition.kind.guid(), partition.name);
        if let Some(seed) = seed {
            let _ = write!(text, "uuid={}, ", Uuid::new_v5(&seed, name.as_bytes()));
        }
        let _ = writeln!(text, "type={kind}, name=\"{name}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sfdisk_is_told_places_in_sectors() {
        let partition = |start, size| Partition {
            name: "x",
            kind: Kind::Linux,
            start,
            size,
        };
        let linux = "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\"x\"\n";
        assert_eq!(
            script(&[partition(MIB, Some(MIB)), partition(2 * MIB, None)], None),
            format!(
                "label: gpt\nunit: sectors\n\nstart=2048, size=2048, {linux}start=4096, {linux}"
            )
        );
        let seeded = script(&[partition(MIB, None)], Some(Uuid::NAMESPACE_URL));
        let again = script(&[partition(MIB, None)], Some(Uuid::NAMESPACE_URL));
        assert_eq!(seeded, again);
        let id = Uuid::NAMESPACE_URL;
        assert!(seeded.contains(&format!("label-id: {id}\n")), "{seeded}");
        assert!(seeded.contains("uuid="), "{seeded}");
    }
}
