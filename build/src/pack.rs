// SPDX-License-Identifier: GPL-3.0-or-later
//! Read-only root images: squashfs from a tar archive. Why squashfs, and why these options:
//! `docs/decisions/read-only-file-system.md`.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use domus_model::contents::{Entry, EtcList};
use domus_model::manifest::FileEntry;
use domus_system::digest;

use crate::files::Added;
use crate::roottar::RootTar;
use crate::selection::Chosen;
use crate::toolroot::ToolRoot;

/// The blocks are squashfs' own default. Memory is what it may take for blocks that wait. sqfstar takes
/// nothing of the root directory from an archive: its own choice would be the builder's, writable by all.
const OPTIONS: &[&str] = &[
    "-comp",
    "zstd",
    "-Xcompression-level",
    "9",
    "-b",
    "131072",
    "-mem",
    "256M",
    "-root-mode",
    "0755",
    "-root-uid",
    "0",
    "-root-gid",
    "0",
    "-exit-on-error",
    "-no-progress",
    "-quiet",
];

/// What of [`pack`]'s options belongs into a step's key.
pub fn options() -> String {
    OPTIONS.join(" ")
}

/// Packs the archive `tar` into the image `to`.
///
/// # Errors
/// sqfstar fails, or the disk is full.
pub fn pack(tools: &ToolRoot, tar: &Path, to: &Path) -> Result<()> {
    let doing = || format!("packing {}", to.display());
    tools
        .program("sqfstar")?
        .args(OPTIONS)
        .arg(to)
        .stdin_from(File::open(tar).with_context(doing)?)
        .run()
        .with_context(doing)
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
