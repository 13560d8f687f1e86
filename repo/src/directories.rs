// SPDX-License-Identifier: GPL-3.0-or-later
//! The directories in one tree: of a large fleet there are a hundred thousand, so they are kept
//! close together.

use std::cmp::Ordering;

use anyhow::Result;

use crate::tree;

/// What git calls a tree.
pub type TreeId = tree::Id;

/// The directories in a tree, by name.
#[derive(Debug, Default)]
pub struct Directories {
    /// All names, one after another.
    names: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    end: usize,
    id: TreeId,
}

impl Directories {
    /// Those in `tree`. A name that is no UTF-8 is shown as what it is like, and refused as a name.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn of(tree: &[u8]) -> Result<Self> {
        let mut all = Self::default();
        for entry in tree::entries(tree) {
            let entry = entry?;
            if !entry.is_tree() {
                continue;
            }
            let start = all.names.len();
            all.names.push_str(&String::from_utf8_lossy(entry.name));
            let (id, end) = (entry.id, all.names.len());
            all.entries.push(Entry { start, end, id });
        }
        let names = &all.names;
        let name = |entry: &Entry| &names[entry.start..entry.end];
        // git has them in almost this order. Of names that are alike the last one counts.
        all.entries.reverse();
        all.entries.sort_by(|a, b| name(a).cmp(name(b)));
        all.entries.dedup_by(|a, b| name(a) == name(b));
        Ok(all)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| self.name_of(entry))
    }

    /// Names and trees.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, TreeId)> {
        let entries = self.entries.iter();
        entries.map(|entry| (self.name_of(entry), entry.id))
    }

    /// The name of the one at `index`.
    pub fn name(&self, index: usize) -> &str {
        self.name_of(&self.entries[index])
    }

    /// Where the one of this name is.
    pub fn find(&self, name: &str) -> Option<usize> {
        let by_name = |entry: &Entry| self.name_of(entry).cmp(name);
        self.entries.binary_search_by(by_name).ok()
    }

    /// The tree of the one of this name.
    pub(crate) fn get(&self, name: &str) -> Option<TreeId> {
        self.find(name).map(|index| self.entries[index].id)
    }

    /// All names here or in `other`, in order: where it is in both, and whether its tree is the
    /// same.
    pub fn beside<'d>(&'d self, other: &'d Self) -> impl Iterator<Item = Beside> + 'd {
        let (mut own, mut others) = (0, 0);
        std::iter::from_fn(move || {
            let order = match (self.entries.get(own), other.entries.get(others)) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => self.name_of(a).cmp(other.name_of(b)),
            };
            let here = order.is_le().then_some(own);
            let there = order.is_ge().then_some(others);
            own += usize::from(here.is_some());
            others += usize::from(there.is_some());
            Some(match (here, there) {
                (Some(here), Some(there)) => {
                    let is_same = self.entries[here].id == other.entries[there].id;
                    Beside::Both(here, there, is_same)
                }
                (Some(here), None) => Beside::Here(here),
                (_, there) => Beside::There(there.unwrap_or_default()),
            })
        })
    }

    /// The names of directories that are not the same here and in `other`.
    pub fn changed<'d>(&'d self, other: &'d Self) -> impl Iterator<Item = &'d str> {
        self.beside(other).filter_map(|beside| match beside {
            Beside::Both(_, _, true) => None,
            Beside::Both(here, ..) | Beside::Here(here) => Some(self.name(here)),
            Beside::There(there) => Some(other.name(there)),
        })
    }

    fn name_of(&self, entry: &Entry) -> &str {
        &self.names[entry.start..entry.end]
    }
}

/// Where a directory is in two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// In both, there and there; and whether they hold the same.
    Both(usize, usize, bool),
    /// In the first only.
    Here(usize),
    /// In the second only.
    There(usize),
}
