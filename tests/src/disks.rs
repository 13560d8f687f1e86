// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks as they may be found in a machine, good ones and bad ones.

use crate::ran::Ran;
use domus_repo::{Repo, carry};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a MiB, and where the one partition of a disk begins.
pub const MIB: u64 = 1 << 20;

/// A partition that is being filled, in `DIR/NAME`; the disk will be `DIR/NAME.img`.
#[derive(Debug)]
pub struct Partition {
    tree: PathBuf,
}

impl Partition {
    /// An empty one.
    ///
    /// # Panics
    /// Its directory cannot be made.
    pub fn new(dir: &Path, name: &str) -> Self {
        let tree = dir.join(name);
        fs::create_dir_all(&tree).expect("a directory");
        Self { tree }
    }

    /// Puts a file on it.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn file(self, path: &str, text: &str) -> Self {
        let path = self.tree.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&self.tree)).expect("a directory");
        fs::write(path, text).expect("a file");
        self
    }

    /// Puts a marker on it: `machine` are the lines below `[machine]`.
    #[must_use]
    pub fn marker(self, fleet: &str, host: &str, machine: &str) -> Self {
        let text = format!(
            "version = 1\nfleet = \"{fleet}\"\nhost = \"{host}\"\n\n[machine]\n{machine}\n"
        );
        self.file(".domus-config", &text)
    }

    /// Puts the repository of a host on it, which runs `commit` of the repository `from`.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn repo(self, from: &Path, commit: &str) -> Self {
        let from = Repo::open(from).expect("a repository");
        carry(&from, commit, &self.tree.join("repo.git")).expect("a copy of the repository");
        self
    }

    /// Where its files are until the disk is made.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// Makes the disk: one partition with an ext4 of `mib` MiB.
    ///
    /// # Panics
    /// mke2fs fails.
    pub fn disk(self, mib: u64) -> PathBuf {
        self.disk_of_blocks(mib, 4096)
    }

    /// The same with blocks of so many bytes.
    ///
    /// # Panics
    /// mke2fs fails.
    pub fn disk_of_blocks(self, mib: u64, block_size: u32) -> PathBuf {
        let disk = self.tree.with_extension("img");
        partitioned(&disk, mib);
        self.mke2fs(&disk, (MIB, mib), block_size);
        disk
    }

    /// Makes the disk: nothing but an ext4 of `mib` MiB.
    ///
    /// # Panics
    /// mke2fs fails.
    pub fn whole(self, mib: u64) -> PathBuf {
        let disk = blank(&self.tree.with_extension("img"), mib);
        self.mke2fs(&disk, (0, mib), 4096);
        disk
    }

    fn mke2fs(self, disk: &Path, (offset, mib): (u64, u64), block_size: u32) {
        let (tree, path) = (self.tree.display().to_string(), disk.display().to_string());
        let (offset, size) = (format!("offset={offset}"), format!("{}k", mib * 1024));
        let block_size = block_size.to_string();
        let options = [
            "-q",
            "-t",
            "ext4",
            "-b",
            &block_size,
            "-E",
            &offset,
            "-d",
            &tree,
        ];
        Ran::program("mke2fs", &[&options[..], &[&path, &size]].concat());
        fs::remove_dir_all(&self.tree).expect("the tree goes");
    }

    /// Makes the disk: nothing but an XFS.
    ///
    /// # Panics
    /// mkfs.xfs fails.
    pub fn xfs(self) -> PathBuf {
        let disk = blank(&self.tree.with_extension("img"), LEAST_XFS);
        let list = self.tree.with_extension("proto");
        let mut text = "/\n0 0\nd--755 0 0\n".to_owned();
        prototype(&self.tree, &mut text);
        fs::write(&list, text + "$\n").expect("a prototype");
        let (list, path) = (list.display().to_string(), disk.display().to_string());
        Ran::program("mkfs.xfs", &["-q", "-p", &list, &path]);
        fs::remove_dir_all(&self.tree).expect("the tree goes");
        disk
    }
}

/// The smallest XFS that is made, in MiB.
const LEAST_XFS: u64 = 300;

/// What is in a directory, as `mkfs.xfs -p` reads it.
fn prototype(dir: &Path, text: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(dir).expect("a directory").flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let (path, name) = (path.display(), name.to_string_lossy());
        if entry.path().is_dir() {
            text.push_str(&format!("{name} d--755 0 0\n"));
            prototype(&entry.path(), text);
            text.push_str("$\n");
        } else {
            text.push_str(&format!("{name} ---644 0 0 {path}\n"));
        }
    }
}

/// Puts the disk `image`, which has no partitions, into a partition that begins at `mib` MiB of a
/// disk with the table that sfdisk makes of `script`. Returns the same path.
///
/// # Panics
/// sfdisk fails.
pub fn into_partition(image: PathBuf, script: &str, mib: u64) -> PathBuf {
    let inner = image.with_extension("inner");
    fs::rename(&image, &inner).expect("another name");
    let from = File::open(&inner).expect("a disk");
    let size = from.metadata().expect("its size").len() / MIB;
    let to = File::create(&image).expect("a disk");
    to.set_len((mib + size + 4) * MIB).expect("a size");
    let list = image.with_extension("sfdisk");
    fs::write(&list, script).expect("a script");
    let (list, path) = (list.display(), image.display());
    let line = format!("sfdisk --quiet {path} <{list}");
    Ran::program("sh", &["-c", &line]);
    let mut chunk = vec![0; usize::try_from(MIB).expect("a MiB")];
    for index in 0..size {
        from.read_exact_at(&mut chunk, index * MIB).expect("a read");
        if chunk.iter().any(|byte| *byte != 0) {
            to.write_all_at(&chunk, (mib + index) * MIB)
                .expect("a write");
        }
    }
    fs::remove_file(inner).expect("the image goes");
    image
}

/// A disk of `mib` MiB without anything on it.
///
/// # Panics
/// It cannot be written.
pub fn blank(path: &Path, mib: u64) -> PathBuf {
    let file = File::create(path).expect("a disk");
    file.set_len(mib * MIB).expect("a size");
    path.to_owned()
}

/// A disk with one partition of `mib` MiB: an MBR (its place and layout: UEFI specification 5.2.1).
///
/// # Panics
/// It cannot be written.
pub fn partitioned(path: &Path, mib: u64) -> PathBuf {
    let sectors = |bytes: u64| {
        u32::try_from(bytes / 512)
            .expect("a small disk")
            .to_le_bytes()
    };
    let mut table = [0; 66];
    table[4] = 0x83;
    table[8..12].copy_from_slice(&sectors(MIB));
    table[12..16].copy_from_slice(&sectors(mib * MIB));
    table[64..].copy_from_slice(&[0x55, 0xaa]);
    blank(path, mib + 1);
    poke(path, 446, &table);
    path.to_owned()
}

/// Overwrites `bytes` at `offset` of a file.
///
/// # Panics
/// It cannot be written.
pub fn poke(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(bytes, offset).expect("a write");
}

/// Cuts a file off after `bytes`.
///
/// # Panics
/// It cannot be written.
pub fn cut(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.set_len(bytes).expect("a size");
}

/// SHA-256 of each of these files.
///
/// # Panics
/// One cannot be read.
pub fn digests(paths: &[PathBuf]) -> Vec<String> {
    let digest = |path: &PathBuf| domus_system::digest::of_file(path).expect("a digest");
    paths.iter().map(digest).collect()
}
