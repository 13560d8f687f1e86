// SPDX-License-Identifier: GPL-3.0-or-later
//! Where on the EFI system partition the block is. GRUB writes it in place, and so does dom0: the
//! file system is not mounted, so that nothing else of it can be torn. Microsoft, FAT specification.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};
use domus_model::slots::{FILE, LENGTH};

/// Bytes of an entry of a directory.
const ENTRY: usize = 32;
/// A root directory is not longer than this, in bytes.
const ROOT: u64 = 1 << 20;
/// The attribute of a directory, and that of a volume's name or a part of a long name.
const DIRECTORY: u8 = 0x10;
const VOLUME: u8 = 0x08;

/// The first byte of the block, counted from the beginning of the partition.
pub(super) fn find(file: &File) -> Result<u64> {
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0)
        .context("reading its first sector")?;
    let fat = Fat::parse(&boot)?;
    let [directory, name] = FILE;
    let entry = |place: u64, length: u64, name: &[u8; 11]| -> Result<Entry> {
        let mut entries = vec![0; usize::try_from(length)?];
        file.read_exact_at(&mut entries, place)
            .context("reading a directory")?;
        let found = lookup(&entries, name);
        found.with_context(|| format!("there is no {}", String::from_utf8_lossy(name)))
    };
    let directory = entry(fat.root.0, fat.root.1, directory)?;
    ensure!(directory.is_directory, "/GRUB is no directory");
    let place = fat.cluster(directory.cluster)?;
    let block = entry(place, fat.cluster_size, name)?;
    ensure!(
        !block.is_directory && block.size as usize == LENGTH && fat.cluster_size >= LENGTH as u64,
        "the block is not in one piece"
    );
    fat.cluster(block.cluster)
}

/// What the first sector says, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Fat {
    /// Place and length of the root directory, or of its first piece.
    root: (u64, u64),
    /// Where the second cluster is: the first that there is.
    data: u64,
    cluster_size: u64,
    end: u64,
}

struct Entry {
    is_directory: bool,
    cluster: u32,
    size: u32,
}

impl Fat {
    fn parse(boot: &[u8; 512]) -> Result<Self> {
        let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| word(at) | word(at + 2) << 16;
        let sector = word(11);
        ensure!(
            boot[510..] == [0x55, 0xaa] && (512..=4096).contains(&sector),
            "it is no FAT"
        );
        let either = |short: u64, long: u64| if short == 0 { long } else { short };
        let cluster_size = u64::from(boot[13]) * sector;
        let tables = u64::from(boot[16]) * either(word(22), long(36));
        let first = (word(14) + tables) * sector;
        let fixed = word(17) * ENTRY as u64;
        let data = first + fixed.next_multiple_of(sector);
        let mut fat = Self {
            root: (first, fixed),
            data,
            cluster_size,
            end: either(word(19), long(32)) * sector,
        };
        if fixed == 0 {
            let root = u32::try_from(long(44))?;
            fat.root = (fat.cluster(root)?, cluster_size);
        }
        ensure!(
            cluster_size > 0 && fat.root.1 <= ROOT && fat.data < fat.end,
            "it is no FAT"
        );
        Ok(fat)
    }

    fn cluster(&self, number: u32) -> Result<u64> {
        let Some(before) = number.checked_sub(2) else {
            bail!("an entry leads nowhere");
        };
        let place = self.data + u64::from(before) * self.cluster_size;
        ensure!(place < self.end, "an entry leads behind the end");
        Ok(place)
    }
}

fn lookup(entries: &[u8], name: &[u8; 11]) -> Option<Entry> {
    let used = entries
        .chunks_exact(ENTRY)
        .take_while(|entry| entry[0] != 0);
    let mut named = used.filter(|entry| entry[11] & VOLUME == 0);
    let entry = named.find(|entry| entry.starts_with(name))?;
    let word = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
    Some(Entry {
        is_directory: entry[11] & DIRECTORY != 0,
        cluster: word(26) | word(20) << 16,
        size: word(28) | word(30) << 16,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// A small file system with the block, FAT12/16 or FAT32 by the number.
    pub(crate) fn disk(bits: u32, block: &[u8]) -> Vec<u8> {
        let mut disk = vec![0; 64 * 1024];
        disk[11..13].copy_from_slice(&512_u16.to_le_bytes());
        disk[13] = 4;
        disk[14] = 1;
        disk[16] = 2;
        disk[19..21].copy_from_slice(&128_u16.to_le_bytes());
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        let (root, data) = if bits == 32 {
            disk[36] = 3;
            disk[44] = 2;
            (7 * 512, 7 * 512)
        } else {
            disk[17] = 16;
            disk[22] = 3;
            (7 * 512, 8 * 512)
        };
        let cluster = |number: usize| data + (number - 2) * 2048;
        let mut entry = |place: usize, name: &[u8; 11], attribute: u8, first: u8, size: u32| {
            disk[place..place + 11].copy_from_slice(name);
            disk[place + 11] = attribute;
            disk[place + 26] = first;
            disk[place + 28..place + 32].copy_from_slice(&size.to_le_bytes());
        };
        entry(root, b"DOMUS   ENV", VOLUME, 9, 0);
        entry(root + 32, b"EFI        ", DIRECTORY, 8, 0);
        entry(root + 64, FILE[0], DIRECTORY, 5, 0);
        entry(cluster(5), b".          ", DIRECTORY, 5, 0);
        let size = u32::try_from(block.len()).expect("small");
        entry(cluster(5) + 32, FILE[1], 0x20, 7, size);
        disk[cluster(7)..cluster(7) + block.len()].copy_from_slice(block);
        disk
    }

    fn found(disk: &[u8]) -> Result<u64> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(disk).expect("written");
        find(&file)
    }

    #[test]
    fn the_block_is_found_by_its_name() {
        let block = vec![b'#'; LENGTH];
        for bits in [16, 32] {
            let disk = disk(bits, &block);
            let place = usize::try_from(found(&disk).expect("found")).expect("a place");
            assert_eq!(disk[place..place + LENGTH], block, "FAT{bits}");
        }
        let mut other = disk(16, &block);
        other[13] = 1;
        assert!(found(&other).is_err());
        assert!(found(&disk(16, &block[1..])).is_err());
        assert!(found(&[0; 4096]).is_err());
        assert!(found(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_disk_is_read_or_refused(flips in prop::collection::vec((0..8192_usize, any::<u8>()), 0..20)) {
            let mut disk = disk(16, &[b'#'; LENGTH]);
            for (place, byte) in flips {
                disk[place] = byte;
            }
            let _ = found(&disk);
        }
    }
}
