// SPDX-License-Identifier: GPL-3.0-or-later
//! Read-only root images: EROFS from a tar archive. Why EROFS, and why these options:
//! `docs/decisions/read-only-file-system.md`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use domus_model::contents::{Entry, EtcList};
use domus_model::manifest::FileEntry;
use domus_system::digest;

use crate::EPOCH;
use crate::files::Added;
use crate::roottar::RootTar;
use crate::selection::Chosen;
use crate::toolroot::ToolRoot;

const OPTIONS: &[&str] = &[
    "-zzstd,level=6",
    "-C65536",
    "-Eztailpacking,fragments",
    "--quiet",
];

/// What of [`pack`]'s options belongs into a step's key.
pub fn options() -> String {
    OPTIONS.join(" ") + "; packed inode disowned"
}

/// Packs the archive `tar` into the image `to`.
///
/// # Errors
/// mkfs.erofs fails, or the disk is full.
pub fn pack(tools: &ToolRoot, tar: &Path, to: &Path) -> Result<()> {
    tools
        .program("mkfs.erofs")?
        .args(OPTIONS)
        .args([
            "-T",
            EPOCH,
            "-U",
            "00000000-0000-0000-0000-000000000000",
            "--tar=f",
        ])
        .arg(to)
        .arg(tar)
        .run()
        .and_then(|()| disown_packed_inode(to))
        .with_context(|| format!("packing {}", to.display()))
}

/// Gives the inode of packed fragments a fixed owner and mode. It is no file that anybody sees,
/// but mkfs.erofs makes it of a temporary file, so the builder's user, group and umask are in it.
/// Places: `struct erofs_super_block` and `struct erofs_inode_extended` of the kernel's
/// `erofs_fs.h`. The checksum of the superblock covers the first block only.
fn disown_packed_inode(image: &Path) -> Result<()> {
    const REGULAR_0600: [u8; 2] = 0o100_600_u16.to_le_bytes();
    let file = File::options().read(true).write(true).open(image)?;
    let mut superblock = [0; 128];
    file.read_exact_at(&mut superblock, 1024)?;
    let word = |at: usize| {
        superblock[at..]
            .first_chunk()
            .map_or(0, |b| u32::from_le_bytes(*b))
    };
    let nid = superblock[96..]
        .first_chunk()
        .map_or(0, |b| u64::from_le_bytes(*b));
    if nid == 0 {
        return Ok(());
    }
    let inode = (u64::from(word(40)) << superblock[12]) + nid * 32;
    file.write_all_at(&REGULAR_0600, inode + 4)?;
    Ok(file.write_all_at(&[0; 8], inode + 24)?)
}

/// Size and digest of the file at `path`.
///
/// # Errors
/// It cannot be read.
pub fn entry(path: &Path) -> Result<FileEntry> {
    let size = path
        .metadata()
        .with_context(|| format!("reading {}", path.display()))?
        .len();
    Ok(FileEntry {
        size,
        sha256: digest::of_file(path)?,
    })
}

/// Packages that are chosen of a Debian tree and their versions, from dpkg's status file.
///
/// # Errors
/// The tree has no such file.
pub fn packages(
    tree: &RootTar,
    chosen: &Chosen,
) -> Result<std::collections::BTreeMap<String, String>> {
    let status = tree.read("var/lib/dpkg/status")?;
    let mut packages = parse_status(&String::from_utf8_lossy(&status));
    packages.retain(|name, _| chosen.takes_package(name));
    Ok(packages)
}

/// What a root that is written from `tree` has in `/etc`.
pub fn etc(tree: &RootTar, chosen: &Chosen, added: &[Added]) -> EtcList {
    let written = tree.written("etc/", chosen, added).into_iter();
    EtcList::new(written.map(|(path, directory)| match directory {
        true => (path, Entry::Directory),
        false => (path, Entry::File),
    }))
}

fn parse_status(status: &str) -> std::collections::BTreeMap<String, String> {
    let field = |stanza: &str, name: &str| {
        stanza
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    let stanzas = status.split("\n\n");
    stanzas
        .filter_map(|s| Some((field(s, "Package:")?, field(s, "Version:")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn packages_are_read_from_dpkgs_status() {
        let status =
            "Package: a\nStatus: install ok installed\nVersion: 1.2-3\n\nPackage: b\nVersion: 4\n";
        let found = super::parse_status(status);
        assert_eq!(found.len(), 2);
        assert_eq!(found["a"], "1.2-3");
    }
}
