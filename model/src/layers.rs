// SPDX-License-Identifier: GPL-3.0-or-later
//! Layers of `/etc`: what each gives, removes and hides. Above the image and what Domus generates
//! lie, each over those before it, `global`, the groups of a host, and its own; over a domU's
//! image `global` and its own.

mod compose;
mod owner;
mod template;

pub(crate) use compose::{Machine, compose};
pub use owner::{Owner, Users};
pub(crate) use template::OWN;
pub use template::variables;

use crate::files::BlobId;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// A layer of `/etc`, proved and filled in. All paths are relative to `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What people call it: `global`, `@web`, `alpha`.
    pub name: String,
    /// Its directory in the repository: `global`, `groups/web`, `pservers/alpha`.
    pub directory: String,
    /// The files and links that it gives.
    pub files: BTreeMap<String, File>,
    /// Owners and modes of files and directories that it gives, where it says so.
    pub attributes: BTreeMap<String, Attributes>,
    /// Files and directories of lower layers that are not to be seen.
    pub remove: BTreeSet<String>,
}

/// A file or link that a layer gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is in the repository.
    pub source: String,
    /// What git calls its content there.
    pub id: BlobId,
    /// Whether it may be run there.
    pub is_program: bool,
    /// How it becomes what it is.
    pub body: Body,
}

/// How a file becomes what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A copy of its source.
    Copy,
    /// A symbolic link, as its source is one.
    Link,
    /// A template, filled in.
    Text(String),
    /// Its source, decrypted.
    Secret,
}

/// Owner and mode of a file or directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The owner; without one, that of what it covers, else root.
    pub owner: Option<Owner>,
    /// The mode, at most 0o7777; without one, that of what it covers, else git's.
    pub mode: Option<u32>,
}

impl Layer {
    /// Whether something in lower layers at `path` is not seen: it, or a directory that it is in,
    /// is removed.
    pub fn removes(&self, path: &str) -> bool {
        self.remove.contains(path) || self.removed_above(path).is_some()
    }

    /// The directory above `path` that is removed, if one is.
    pub fn removed_above<'p>(&self, path: &'p str) -> Option<&'p str> {
        above(path).find(|directory| self.remove.contains(*directory))
    }

    /// Whether the layer gives something in the directory `path`.
    pub fn has_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let mut files = self.files.range(below.clone()..);
        files
            .next()
            .is_some_and(|(file, _)| file.starts_with(&below))
    }
}

/// The directories that `path` is in, the nearest first.
pub(crate) fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

/// In a document that shows a host or domU, its layers are their names.
pub(crate) fn names<S: Serializer>(layers: &[Layer], serializer: S) -> Result<S::Ok, S::Error> {
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    names.serialize(serializer)
}
