// SPDX-License-Identifier: GPL-3.0-or-later
//! A stick with a vfat, as it comes from any shop, with files on it. Layout: Microsoft, FAT32 File
//! System Specification 1.03; long names as in its chapter on them.

use std::fs;
use std::path::Path;

const SECTOR: usize = 512;
const CLUSTER: usize = 4 * SECTOR;
/// Enough of them that it is a FAT16.
const CLUSTERS: usize = 8000;
const FAT: usize = ((CLUSTERS + 2) * 2).div_ceil(SECTOR) * SECTOR;
const ROOT_ENTRIES: usize = 512;
const ENTRY: usize = 32;
const DIRECTORY: u8 = 0x10;

/// What `blkid` calls the UUID of such a stick.
pub const ID: &str = "1234-ABCD";

/// Makes the file `to` such a stick with all that is in the directory `from`.
///
/// # Panics
/// It has no room.
pub fn make(from: &Path, to: &Path) {
    let mut stick = Stick {
        fat: vec![0xfff8, 0xffff],
        data: Vec::new(),
        names: 0,
    };
    let mut root = stick.entries(from, None);
    root.resize(ROOT_ENTRIES * ENTRY, 0);
    assert!(stick.fat.len() <= CLUSTERS, "it has no room");
    let mut fat: Vec<u8> = stick
        .fat
        .iter()
        .flat_map(|next| next.to_le_bytes())
        .collect();
    fat.resize(FAT, 0);
    stick.data.resize(CLUSTERS * CLUSTER, 0);
    let mut all = boot_sector(SECTOR + FAT + root.len() + stick.data.len());
    for part in [fat, root, stick.data] {
        all.extend(part);
    }
    fs::write(to, all).expect("a stick");
}

fn boot_sector(size: usize) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    let word = |number: usize| u16::try_from(number).expect("a number").to_le_bytes();
    put(0, b"\xeb\x3c\x90mkdosfs\0");
    put(11, &word(SECTOR));
    put(13, &[4]);
    put(14, &word(1));
    put(16, &[1]);
    put(17, &word(ROOT_ENTRIES));
    put(19, &word(size / SECTOR));
    put(21, &[0xf8]);
    put(22, &word(FAT / SECTOR));
    put(36, b"\x80\x00\x29\xcd\xab\x34\x12NO NAME    FAT16   ");
    put(510, &[0x55, 0xaa]);
    sector
}

struct Stick {
    fat: Vec<u16>,
    data: Vec<u8>,
    names: u32,
}

impl Stick {
    /// Takes clusters for so many bytes; the first of them.
    fn take(&mut self, length: usize) -> u16 {
        let first = self.fat.len();
        let count = length.div_ceil(CLUSTER).max(1);
        for next in 1..=count {
            let next = u16::try_from(first + next).expect("room");
            self.fat.push(next);
        }
        *self.fat.last_mut().expect("one") = 0xffff;
        self.data.resize((first + count - 2) * CLUSTER, 0);
        u16::try_from(first).expect("room")
    }

    fn put(&mut self, first: u16, bytes: &[u8]) {
        let at = (usize::from(first) - 2) * CLUSTER;
        self.data[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The entries of a directory; of one that is not the root with `.` and `..`, by their clusters.
    fn entries(&mut self, dir: &Path, own: Option<(u16, u16)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some((own, above)) = own {
            bytes.extend(short(b".          ", DIRECTORY, own, 0));
            bytes.extend(short(b"..         ", DIRECTORY, above, 0));
        }
        let here = own.map_or(0, |(own, _)| own);
        for path in children(dir) {
            let name = path.file_name().expect("a name").to_str().expect("text");
            self.names += 1;
            let alias = format!("F{:07}   ", self.names);
            bytes.extend(long(name, alias.as_bytes()));
            if path.is_dir() {
                let count: usize = children(&path).iter().map(|it| slots(it) + 1).sum();
                let first = self.take((count + 2) * ENTRY);
                let inside = self.entries(&path, Some((first, here)));
                self.put(first, &inside);
                bytes.extend(short(alias.as_bytes(), DIRECTORY, first, 0));
            } else {
                let content = fs::read(&path).expect("a file");
                let first = match content.len() {
                    0 => 0,
                    length => self.take(length),
                };
                if first != 0 {
                    self.put(first, &content);
                }
                bytes.extend(short(alias.as_bytes(), 0x20, first, content.len()));
            }
        }
        bytes
    }
}

fn children(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// How many entries a long name takes.
fn slots(path: &Path) -> usize {
    let name = path.file_name().expect("a name").to_str().expect("text");
    name.len().div_ceil(13)
}

fn short(name: &[u8], attributes: u8, first: u16, size: usize) -> Vec<u8> {
    let mut entry = vec![0; ENTRY];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    // The first day there was.
    entry[24..26].copy_from_slice(&0x21_u16.to_le_bytes());
    entry[26..28].copy_from_slice(&first.to_le_bytes());
    let size = u32::try_from(size).expect("a size");
    entry[28..].copy_from_slice(&size.to_le_bytes());
    entry
}

/// A long name before the entry with the short one, its last part first.
fn long(name: &str, alias: &[u8]) -> Vec<u8> {
    let sum = alias
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.len().div_ceil(13);
    if units.len() < parts * 13 {
        units.push(0);
    }
    units.resize(parts * 13, 0xffff);
    let mut bytes = Vec::new();
    for (number, part) in units.chunks(13).enumerate().rev() {
        let last = if number + 1 == parts { 0x40 } else { 0 };
        let mut entry = vec![0; ENTRY];
        entry[0] = u8::try_from(number + 1).expect("a short name") | last;
        entry[11] = 0x0f;
        entry[13] = sum;
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain([28, 30]);
        for (at, unit) in places.zip(part) {
            entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        bytes.extend(entry);
    }
    bytes
}
