// SPDX-License-Identifier: GPL-3.0-or-later
//! A tree as git keeps it: for each entry its mode in octal digits, a space, its name, a zero byte,
//! and an id. Entries are judged as libgit2 judges them.

use std::str;

use anyhow::{Context, Result};

/// What git calls an object: its SHA-1.
pub(crate) type Id = [u8; 20];

/// One name in a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'t> {
    pub(crate) kind: EntryKind,
    pub(crate) name: &'t [u8],
    pub(crate) id: Id,
}

/// What is behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Tree,
    File,
    /// A file that may be run.
    Program,
    Link,
    /// A commit of another repository.
    Submodule,
}

impl EntryKind {
    /// That of a mode as libgit2 takes it, which has seen many.
    fn of(mode: u16) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Tree,
            0o160_000 => Self::Submodule,
            _ if mode & 0o100 != 0 => Self::Program,
            0o120_000 => Self::Link,
            _ => Self::File,
        }
    }
}

impl<'t> Entry<'t> {
    /// Its name, if that is text.
    pub(crate) fn text(&self) -> Option<&'t str> {
        str::from_utf8(self.name).ok()
    }

    pub(crate) fn is_tree(&self) -> bool {
        self.kind == EntryKind::Tree
    }
}

/// The entries of a tree, in its order.
///
/// # Errors
/// One after the last that can be read, if others follow.
pub(crate) fn entries(tree: &[u8]) -> impl Iterator<Item = Result<Entry<'_>>> {
    let mut rest = tree;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = take(&mut rest).context("this tree is damaged");
        if entry.is_err() {
            rest = &[];
        }
        Some(entry)
    })
}

/// The entry of this name in a tree.
///
/// # Errors
/// The tree is damaged before there is one.
pub(crate) fn find<'t>(tree: &'t [u8], name: &str) -> Result<Option<Entry<'t>>> {
    let is_wanted = |entry: &Result<Entry<'_>>| match entry {
        Ok(entry) => entry.name == name.as_bytes(),
        Err(_) => true,
    };
    entries(tree).find(is_wanted).transpose()
}

fn take<'t>(rest: &mut &'t [u8]) -> Option<Entry<'t>> {
    let digits = rest.iter().position(|byte| *byte == b' ')?;
    let mode = str::from_utf8(&rest[..digits]).ok()?;
    let mode = u16::from_str_radix(mode, 8).ok()?;
    let behind = &rest[digits + 1..];
    let end = behind.iter().position(|byte| *byte == 0)?;
    let name = &behind[..end];
    let (id, next) = behind[end + 1..].split_first_chunk()?;
    if name.is_empty() {
        return None;
    }
    *rest = next;
    Some(Entry {
        kind: EntryKind::of(mode),
        name,
        id: *id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::{ObjectType, Repository};

    #[test]
    fn entries_are_what_libgit2_sees() {
        let dir = tempfile::tempdir().expect("a directory");
        let git = Repository::init_bare(dir.path()).expect("init");
        let modes = [
            "40000", "040000", "100644", "100664", "100755", "120000", "160000", "120755", "644",
            "0", "40755", "100744", "100654", "170000",
        ];
        let mut raw = Vec::new();
        for (number, mode) in modes.iter().enumerate() {
            raw.extend_from_slice(format!("{mode} {number:02}\u{fc}\0").as_bytes());
            raw.extend_from_slice(&[number as u8; 20]);
        }
        let id = git.odb().expect("objects").write(ObjectType::Tree, &raw);
        let tree = git.find_tree(id.expect("written")).expect("a tree");
        let own: Vec<Entry<'_>> = entries(&raw).map(|entry| entry.expect("whole")).collect();
        assert_eq!(own.len(), tree.len());
        for (own, other) in own.iter().zip(&tree) {
            let kind = match (other.kind(), other.filemode()) {
                (Some(ObjectType::Tree), _) => EntryKind::Tree,
                (Some(ObjectType::Commit), _) => EntryKind::Submodule,
                (_, 0o120_000) => EntryKind::Link,
                (_, 0o100_755) => EntryKind::Program,
                _ => EntryKind::File,
            };
            assert_eq!(own.kind, kind, "{:o}", other.filemode_raw());
            assert_eq!(
                (own.name, &own.id[..]),
                (other.name_bytes(), other.id().as_bytes())
            );
        }
        for length in (1..raw.len()).filter(|length| length % 27 != 0) {
            let _ = entries(&raw[..length]).count();
        }
    }

    #[test]
    fn damaged_trees_are_refused() {
        let id = "\u{1}".repeat(20);
        let whole = format!("100644 a\0{id}");
        for bad in [
            "x",
            "100644 a",
            "100644 a\0x",
            "8 a\0",
            "200000000 a\0",
            "100644 \0",
        ] {
            let bad = format!("{whole}{bad}{}", if bad.ends_with('\0') { &id } else { "" });
            let read: Vec<bool> = entries(bad.as_bytes()).map(|it| it.is_ok()).collect();
            assert_eq!(read, [true, false], "{bad:?}");
            assert!(find(bad.as_bytes(), "b").is_err());
            assert!(find(bad.as_bytes(), "a").is_ok_and(|found| found.is_some()));
        }
    }
}
