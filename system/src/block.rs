// SPDX-License-Identifier: GPL-3.0-or-later
//! Block devices and what is on them, by their superblocks. Nothing is written and nothing is
//! mounted to find out.

mod removable;
mod table;

pub use table::partition_id;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use uuid::Uuid;

/// A disk or partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `/dev/NAME`.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Whether it is a partition of a disk.
    pub partition: bool,
    /// Whether it is a disk that has partitions.
    pub partitioned: bool,
}

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file system that a config partition may have, or `vfat`, which a seed may have.
    FileSystem(FileSystem),
    /// ISO 9660, with the volume set identifier of its primary descriptor. A seed may have it.
    Iso9660(String, FileSystem),
    /// A name that `blkid` would give as well; Domus has no further use for it.
    Other(&'static str),
    /// Nothing that is known here.
    Unknown,
}

/// A file system that can be read without writing to it, its journal too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// `ext4` (ext2 and ext3 too), `xfs`, `vfat` or `iso9660`, as the kernel mounts it.
    pub kind: &'static str,
    /// The size in bytes that its superblock claims.
    pub size: u64,
    /// What `blkid` calls its UUID; empty if it has none.
    pub id: String,
    /// What it is called; that of `vfat` and `iso9660` is not read.
    pub label: String,
    /// Whether a journal may have to be replayed before all of it is true. XFS does not say.
    pub journal: bool,
    /// The copy of its superblock that says so, where the first does not.
    pub copy: Option<Copy>,
}

/// A copy of the superblock of an ext4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The block in which it is.
    pub block: u64,
    /// In bytes.
    pub block_size: u64,
}

impl FileSystem {
    /// The option by which the kernel mounts it without replaying its journal, if it may have one.
    pub fn without_replay(&self) -> Option<&'static str> {
        match self.kind {
            "ext4" => Some("noload"),
            "xfs" => Some("norecovery"),
            _ => None,
        }
    }

    /// Whether it is one that only seeds have: it keeps neither owners nor what is written to it.
    pub fn is_of_seeds(&self) -> bool {
        matches!(self.kind, "vfat" | "iso9660")
    }
}

impl Content {
    /// The name to show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FileSystem(found) | Self::Iso9660(_, found) => found.kind,
            Self::Other(name) => name,
            Self::Unknown => "-",
        }
    }
}

/// Every disk and partition that can hold data, sorted by name. Loop, RAM and empty devices are
/// left out.
///
/// # Errors
/// `/sys/class/block` cannot be read.
pub fn devices() -> Result<Vec<Device>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/block").context("listing /sys/class/block")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if ["loop", "ram", "zram", "nbd", "dm-", "fd"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            continue;
        }
        let dir = entry.path();
        let sectors = fs::read_to_string(dir.join("size")).unwrap_or_default();
        let size = sectors.trim().parse::<u64>().unwrap_or(0) * 512;
        if size == 0 {
            continue;
        }
        let partition = dir.join("partition").exists();
        let below = fs::read_dir(&dir).into_iter().flatten().flatten();
        let partitioned = !partition
            && below
                .into_iter()
                .any(|child| child.path().join("partition").exists());
        found.push(Device {
            path: Path::new("/dev").join(name),
            size,
            partition,
            partitioned,
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether the kernel writes nothing to `/dev/NAME`: a switch on the stick, or a drive that refuses.
pub fn is_read_only(device: &Path) -> bool {
    let class = Path::new("/sys/class/block");
    let name = device.file_name().unwrap_or_default();
    let ro = fs::read_to_string(class.join(name).join("ro"));
    ro.is_ok_and(|ro| ro.trim() == "1")
}

/// What disks come from: while it changes, more of them may come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coming {
    /// How many USB, SCSI and `NVMe` devices the kernel knows.
    pub known: usize,
    /// USB sticks that do not show a disk yet: the kernel gives them a second to wake up.
    pub sticks: usize,
}

/// Looks at what disks come from.
pub fn coming() -> Coming {
    coming_from(Path::new("/sys"))
}

fn coming_from(sys: &Path) -> Coming {
    /// Mass storage: USB-IF's list of class codes.
    const STORAGE: &str = "08";
    let list = |dir: &str| fs::read_dir(sys.join(dir)).into_iter().flatten().flatten();
    let known = ["bus/usb/devices", "bus/scsi/devices", "class/nvme"].map(|dir| list(dir).count());
    let is_stick = |interface: &Path| {
        let class = fs::read_to_string(interface.join("bInterfaceClass"));
        class.is_ok_and(|class| class.trim() == STORAGE)
    };
    let sticks = list("bus/usb/devices").map(|entry| entry.path());
    let sticks = sticks.filter(|interface| is_stick(interface) && !shows_disk(interface, 4));
    Coming {
        known: known.iter().sum(),
        sticks: sticks.count(),
    }
}

/// Whether a disk is below this device: `host6/target6:0:0/6:0:0:0/block`.
fn shows_disk(device: &Path, depth: usize) -> bool {
    let entries = fs::read_dir(device).into_iter().flatten().flatten();
    let mut below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.any(|entry| {
        entry.file_name() == "block" || (depth > 1 && shows_disk(&entry.path(), depth - 1))
    })
}

/// Looks for a copy of the superblock of an ext4, where its second group begins with any size of
/// its blocks; none is there if it has one group only.
///
/// # Errors
/// The device cannot be read.
pub fn from_copy(device: &Path) -> Result<Option<FileSystem>> {
    let doing = || format!("reading {}", device.display());
    let mut file = File::open(device).with_context(doing)?;
    for block_size in [1024, 2048, 4096] {
        // A group has as many blocks as a block has bits; blocks of 1 KiB are counted from 1.
        let block = block_size * 8 + u64::from(block_size == 1024);
        let mut copy = Vec::new();
        let start = SeekFrom::Start(block * block_size);
        file.seek(start).with_context(doing)?;
        (&file)
            .take(1024)
            .read_to_end(&mut copy)
            .with_context(doing)?;
        let found = ext_copy(&copy, Copy { block, block_size });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What a superblock says that is the copy in the second group of an ext4.
fn ext_copy(superblock: &[u8], copy: Copy) -> Option<FileSystem> {
    let found = ext(superblock);
    let is_magic = bytes(superblock, 0x38) == [0x53, 0xef];
    let group = u16::from_le_bytes(bytes(superblock, 0x5a));
    let block_size = 1024_u64.checked_shl(u32::from_le_bytes(bytes(superblock, 0x18)));
    (is_magic && group == 1 && block_size == Some(copy.block_size)).then_some(FileSystem {
        copy: Some(copy),
        ..found
    })
}

/// Bytes from the start of a device that [`identify`] looks at.
const HEAD: usize = 0x11000;

/// Reads the superblocks of `device`.
///
/// # Errors
/// It cannot be opened or its start cannot be read.
pub fn probe(device: &Path) -> Result<Content> {
    let doing = || format!("reading {}", device.display());
    let mut file = File::open(device).with_context(doing)?;
    let mut head = Vec::with_capacity(HEAD);
    (&mut file)
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .with_context(doing)?;
    let size = file.seek(SeekFrom::End(0)).with_context(doing)?;
    let mut tail = Vec::new();
    // MD metadata 0.90 and 1.0 stand within the last 128 KiB, at 64 KiB and 8 KiB from the end.
    if size > HEAD as u64 {
        let start = size.saturating_sub(128 << 10) & !4095;
        file.seek(SeekFrom::Start(start)).with_context(doing)?;
        file.read_to_end(&mut tail).with_context(doing)?;
    }
    Ok(identify(&head, &tail))
}

/// What the first bytes of a device (and, for MD members, its last 128 KiB) say that it holds.
pub fn identify(head: &[u8], tail: &[u8]) -> Content {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|b| b.starts_with(magic));
    let md = [0xfc, 0x4e, 0x2b, 0xa9];
    // A RAID1 member with its metadata at the end looks like the file system it mirrors.
    if at(0, &md) || at(4096, &md) || tail.chunks(4096).any(|block| block.starts_with(&md)) {
        return Content::Other("linux_raid_member");
    }
    if at(0x8001, b"CD001") {
        let (set, found) = removable::iso9660(head.get(0x8000..).unwrap_or_default());
        return Content::Iso9660(set, found);
    }
    if at(1024 + 0x38, &[0x53, 0xef]) {
        return Content::FileSystem(ext(head.get(1024..).unwrap_or_default()));
    }
    if at(0, b"XFSB") {
        return Content::FileSystem(xfs(head));
    }
    let others: &[(usize, &[u8], &'static str)] = &[
        (0, b"hsqs", "squashfs"),
        (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "erofs"),
        (0x10040, b"_BHRfS_M", "btrfs"),
        (0, b"LUKS\xba\xbe", "crypto_LUKS"),
        (0x218, b"LVM2 001", "LVM2_member"),
        (4086, b"SWAPSPACE2", "swap"),
        (3, b"NTFS    ", "ntfs"),
    ];
    if at(82, b"FAT32   ") || at(54, b"FAT1") {
        return Content::FileSystem(removable::vfat(head));
    }
    others
        .iter()
        .find(|(offset, magic, _)| at(*offset, magic))
        .map_or(Content::Unknown, |(_, _, name)| Content::Other(name))
}

/// The superblock of ext2, ext3 and ext4: Linux, Documentation/filesystems/ext4/super.rst.
fn ext(superblock: &[u8]) -> FileSystem {
    const NEEDS_RECOVERY: u32 = 4;
    let word = |offset: usize| u32::from_le_bytes(bytes(superblock, offset));
    let blocks = u64::from(word(0x4)) | u64::from(word(0x150)) << 32;
    FileSystem {
        kind: "ext4",
        size: blocks.saturating_mul(1024 << word(0x18).min(6)),
        id: Uuid::from_bytes(bytes(superblock, 0x68)).to_string(),
        label: text(&bytes::<16>(superblock, 0x78)),
        journal: word(0x60) & NEEDS_RECOVERY != 0,
        copy: None,
    }
}

/// The superblock of XFS: `struct xfs_dsb` of Linux, fs/xfs/libxfs/xfs_format.h.
fn xfs(head: &[u8]) -> FileSystem {
    let block = u64::from(u32::from_be_bytes(bytes(head, 4)));
    FileSystem {
        kind: "xfs",
        size: u64::from_be_bytes(bytes(head, 8)).saturating_mul(block),
        id: Uuid::from_bytes(bytes(head, 32)).to_string(),
        label: text(&bytes::<12>(head, 108)),
        journal: true,
        copy: None,
    }
}

/// A text that zeros or spaces fill up.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches([' ', '\0']).to_owned()
}

/// The bytes at `offset`; zeros where there are none.
fn bytes<const N: usize>(head: &[u8], offset: usize) -> [u8; N] {
    let found = head.get(offset..).and_then(|rest| rest.first_chunk());
    found.copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(offset: usize, magic: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[offset..offset + magic.len()].copy_from_slice(magic);
        head
    }

    #[test]
    fn superblocks_are_told_apart() {
        let mut ext = with(1080, &[0x53, 0xef]);
        ext[1024 + 4] = 10;
        ext[1024 + 0x18] = 2;
        ext[1024 + 0x68] = 0xab;
        ext[1024 + 0x78..][..5].copy_from_slice(b"label");
        let mut found = FileSystem {
            kind: "ext4",
            size: 40960,
            id: Uuid::from_u128(0xab << 120).to_string(),
            label: "label".into(),
            journal: false,
            copy: None,
        };
        assert_eq!(identify(&ext, &[]), Content::FileSystem(found.clone()));
        ext[1024 + 0x60] = 0x46;
        found.journal = true;
        assert_eq!(identify(&ext, &[]), Content::FileSystem(found));
        let Content::FileSystem(cut) = identify(&ext[..1090], &[]) else {
            panic!("an ext4 that is cut off is one");
        };
        assert_eq!((cut.size, cut.id), (40960, Uuid::nil().to_string()));
        let mut xfs = with(0, b"XFSB\0\0\x10\0\0\0\0\0\0\0\x40\0");
        xfs[32] = 0xcd;
        let found = FileSystem {
            kind: "xfs",
            size: 0x4000 * 4096,
            id: Uuid::from_u128(0xcd << 120).to_string(),
            label: String::new(),
            journal: true,
            copy: None,
        };
        assert_eq!(identify(&xfs, &[]), Content::FileSystem(found));
        assert_eq!(identify(&[], &[]), Content::Unknown);
        assert_eq!(identify(&[0; 1082], &[]), Content::Unknown);
    }

    #[test]
    fn only_the_copy_in_the_second_group_counts() {
        let copy = |block_size| Copy {
            block: 8193,
            block_size,
        };
        let mut superblock = with(0x38, &[0x53, 0xef]);
        assert_eq!(ext_copy(&superblock, copy(1024)), None, "the first one");
        superblock[0x5a] = 1;
        let found = ext_copy(&superblock, copy(1024)).expect("a copy");
        assert_eq!(found.copy, Some(copy(1024)));
        assert_eq!(ext_copy(&superblock, copy(4096)), None, "other blocks");
        superblock[0x38] = 0;
        assert_eq!(ext_copy(&superblock, copy(1024)), None, "no ext4");
        assert_eq!(ext_copy(&[], copy(1024)), None, "cut off");
    }

    #[test]
    fn a_stick_that_shows_no_disk_yet_is_coming() {
        let sys = tempfile::tempdir().expect("dir");
        let device = |name: &str, class: &str, below: &str| {
            let dir = sys.path().join("bus/usb/devices").join(name);
            fs::create_dir_all(dir.join(below)).expect("mkdir");
            fs::write(dir.join("bInterfaceClass"), class).expect("write");
        };
        assert_eq!(coming_from(sys.path()), Coming::default());
        device("1-1:1.0", "09\n", "");
        device("1-2:1.0", "08\n", "host6/target6:0:0/6:0:0:0");
        let coming = Coming {
            known: 2,
            sticks: 1,
        };
        assert_eq!(coming_from(sys.path()), coming);
        device("1-2:1.0", "08\n", "host6/target6:0:0/6:0:0:0/block/sdb");
        assert_eq!(coming_from(sys.path()).sticks, 0);
    }

    #[test]
    fn a_mirror_half_with_its_metadata_at_the_end_is_no_ext4() {
        let mut tail = vec![0; 128 << 10];
        let end = tail.len() - 8192;
        tail[end..end + 4].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9]);
        let found = identify(&with(1080, &[0x53, 0xef]), &tail);
        assert_eq!(found, Content::Other("linux_raid_member"));
    }
}
