// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the files of an ISO 9660 image are, read by its standard (ECMA-119) and not by the code
//! under test.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a sector.
pub const SECTOR: u64 = 2048;
/// Where the primary volume descriptor begins (8.4), in bytes.
pub const DESCRIPTOR: u64 = 16 * SECTOR;
/// Offset of the root directory's record in it.
const ROOT: u64 = 156;

/// Bytes of a block that the kernel proves.
const PROVED: usize = 4096;
/// Bytes of a block of squashfs: what is smaller shares one with other files.
const BLOCK: usize = 131_072;
/// How a file begins that xz has compressed.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// Flips a bit of the byte at `place` of a file.
///
/// # Panics
/// It cannot be written.
pub fn flip(path: &Path, place: u64) {
    let file = File::options().read(true).write(true).open(path);
    let file = file.expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], place).expect("written");
}

/// A file or directory on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Its path, without a leading `/` and without the version.
    pub path: String,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a directory.
    pub directory: bool,
}

/// An image that is read.
#[derive(Debug)]
pub struct Image {
    file: File,
}

impl Image {
    /// Opens the image at `path`.
    ///
    /// # Panics
    /// It cannot be opened.
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).expect("the image opens");
        Self { file }
    }

    /// Everything on it, directories before what they hold; the root has the path ``.
    pub fn extents(&self) -> Vec<Extent> {
        let record = self.bytes(DESCRIPTOR + ROOT, 34);
        let mut found = vec![extent(&record, "", "")];
        let mut next = 0;
        while let Some(directory) = found.get(next).cloned() {
            next += 1;
            if directory.directory {
                found.extend(self.list(&directory));
            }
        }
        found
    }

    /// The content of the file `path`.
    ///
    /// # Panics
    /// There is none.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let extents = self.extents();
        let found = extents.iter().find(|extent| extent.path == path);
        let found = found.unwrap_or_else(|| panic!("no {path} on the image"));
        self.bytes(found.start, found.size)
    }

    /// What GRUB loads: a file, or a list of blocks, `($root)FIRST+COUNT`.
    ///
    /// # Panics
    /// There is none.
    pub fn loaded(&self, place: &str) -> Vec<u8> {
        let Some(blocks) = place.strip_prefix("($root)") else {
            return self.read(place.trim_start_matches('/'));
        };
        let (first, count) = blocks.split_once('+').expect("a list of blocks");
        let bytes = |sectors: &str| 512 * sectors.parse::<u64>().expect("a number");
        self.bytes(bytes(first), bytes(count))
    }

    /// Where the file `path` begins, in bytes.
    ///
    /// # Panics
    /// There is none.
    pub fn place(&self, path: &str) -> u64 {
        let extents = self.extents();
        let found = extents.iter().find(|extent| extent.path == path);
        found.map(|extent| extent.start).expect("a file")
    }

    /// A place in the root image `path` that one kernel module has and no other file: they are
    /// compressed already (xz), so that large ones stand there as they are.
    ///
    /// # Panics
    /// None does.
    pub fn a_module(&self, path: &str) -> u64 {
        let content = self.read(path);
        let windows = content.windows(XZ.len()).enumerate();
        let begins = windows.filter_map(|(at, window)| (window == XZ).then_some(at));
        let begins: Vec<usize> = begins.collect();
        let mut pairs = begins.windows(2);
        let large = pairs.find(|pair| pair[1] - pair[0] > BLOCK);
        let begin = large.expect("a large module")[0].next_multiple_of(PROVED);
        self.place(path) + (begin + PROVED / 2) as u64
    }

    fn list(&self, directory: &Extent) -> Vec<Extent> {
        let bytes = self.bytes(directory.start, directory.size);
        let mut found = Vec::new();
        // Records do not cross sectors (6.8.1.1); zeros fill the rest of one.
        for sector in bytes.chunks(SECTOR as usize) {
            let mut at = 0;
            while let Some(&length @ 1..) = sector.get(at) {
                let record = &sector[at..at + usize::from(length)];
                let name = &record[33..33 + usize::from(record[32])];
                if name != [0] && name != [1] {
                    let name = String::from_utf8_lossy(name);
                    found.push(extent(record, &directory.path, &name));
                }
                at += usize::from(length);
            }
        }
        found
    }

    fn bytes(&self, start: u64, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(size).expect("a size")];
        self.file
            .read_exact_at(&mut bytes, start)
            .expect("the image can be read");
        bytes
    }
}

/// A directory record (9.1).
fn extent(record: &[u8], directory: &str, name: &str) -> Extent {
    // `NAME.;1`: a separator without an extension, and the version (7.5.1).
    let name = name.split(';').next().unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let path = match directory {
        "" => name.to_owned(),
        _ => format!("{directory}/{name}"),
    };
    Extent {
        path,
        start: word(&record[2..]) * SECTOR,
        size: word(&record[10..]),
        directory: record[25] & 2 != 0,
    }
}

fn word(bytes: &[u8]) -> u64 {
    let bytes: [u8; 4] = bytes[..4].try_into().expect("four bytes");
    u64::from(u32::from_le_bytes(bytes))
}
