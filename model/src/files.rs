// SPDX-License-Identifier: GPL-3.0-or-later
//! The files of a repository that say something: documents with their content, and the names of
//! those that layers lay over `/etc`.

use crate::contents::{EtcList, LISTS};
use crate::documents::Vocabulary;
use crate::lock::LOCK;
use crate::media::MEDIA;
use crate::trust;
use sha2::Digest as _;
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

/// Documents by path, relative to the root of their repository and with `/` between; and what
/// there is in the `etc/` of layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    contents: BTreeMap<Arc<str>, Result<Vec<u8>, String>>,
    leaves: BTreeMap<Arc<str>, Leaf>,
}

/// The path of a document, and its content or why there is none.
pub(crate) type Document<'d> = (&'d Arc<str>, Result<&'d [u8], &'d str>);

/// A file or link in the `etc/` of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Which of the two.
    pub kind: LeafKind,
    /// What it holds, or where it points.
    pub id: BlobId,
}

/// Whether something in a layer is a file or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafKind {
    /// A plain file.
    File,
    /// A plain file that may be run.
    Program,
    /// A plain file larger than [`Files::LARGEST_PART`].
    Large,
    /// A symbolic link.
    Link,
    /// Something that git does not keep, or keeps for others: a pipe, a submodule.
    Other,
}

/// What git calls a content: SHA-1 of `blob LENGTH`, a zero byte, and the content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 20]);

/// SHA-256 of a content.
pub type Digest = [u8; 32];

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Documents {
    /// No documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a document. Of one that is longer than [`Files::LONGEST`] its beginning is enough.
    pub fn insert(&mut self, path: impl Into<Arc<str>>, content: Vec<u8>) {
        self.contents.insert(path.into(), Ok(content));
    }

    /// Adds a document that could not be read, and why: `is a symbolic link`.
    pub fn insert_unreadable(&mut self, path: impl Into<Arc<str>>, reason: impl Into<String>) {
        self.contents.insert(path.into(), Err(reason.into()));
    }

    /// Adds what is in the `etc/` of a layer.
    pub fn insert_leaf(&mut self, path: impl Into<Arc<str>>, leaf: Leaf) {
        self.leaves.insert(path.into(), leaf);
    }

    /// Adds all that others have.
    pub fn extend(&mut self, others: Self) {
        self.contents.extend(others.contents);
        self.leaves.extend(others.leaves);
    }

    /// Takes out what is at `path`; whether there was something.
    pub fn remove(&mut self, path: &str) -> bool {
        let (content, leaf) = (self.contents.remove(path), self.leaves.remove(path));
        content.is_some() || leaf.is_some()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.leaves.is_empty()
    }

    /// Whether there is a document at `path`, readable or not.
    pub fn contains(&self, path: &str) -> bool {
        self.contents.contains_key(path)
    }

    /// The names of the domUs that a host with these documents has.
    pub fn domus(&self) -> impl Iterator<Item = &str> {
        self.contents.keys().filter_map(|path| {
            let (directory, file) = path.rsplit_once('/')?;
            let is_domus = directory.ends_with("/domUs");
            file.strip_suffix(".toml").filter(|_| is_domus)
        })
    }

    /// The documents by path; of one that could not be read, why.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Document<'_>> {
        self.contents.iter().map(|(path, content)| {
            let content = content.as_deref().map_err(String::as_str);
            (path, content)
        })
    }

    /// A document, and its path as it is kept here.
    pub(crate) fn get(&self, path: &str) -> Option<Document<'_>> {
        let (path, content) = self.contents.get_key_value(path)?;
        Some((path, content.as_deref().map_err(String::as_str)))
    }

    /// What identifies the content of a document: not what git calls it, and good for telling
    /// whether two are the same.
    pub fn id_of(&self, path: &str) -> Option<Digest> {
        let content = self.contents.get(path)?.as_ref().ok()?;
        Some(Sha256::digest(content).into())
    }

    /// What identifies all of them: their paths, contents, and what layers hold.
    pub fn digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for (path, content) in &self.contents {
            field(path.as_bytes());
            let (readable, bytes) = match content {
                Ok(content) => (b"content", content.as_slice()),
                Err(reason) => (b"refused", reason.as_bytes()),
            };
            field(readable);
            field(bytes);
        }
        field(b"");
        for (path, leaf) in &self.leaves {
            field(path.as_bytes());
            field(&[leaf.kind as u8]);
            field(&leaf.id.0);
        }
        hasher.finalize().into()
    }

    /// What the `etc/` of layers hold in and below a directory whose path ends with a slash.
    pub(crate) fn leaves<'d>(
        &'d self,
        below: &'d str,
    ) -> impl Iterator<Item = (&'d Arc<str>, &'d Leaf)> {
        let leaves = self.leaves.range::<str, _>((Included(below), Unbounded));
        leaves.take_while(move |(path, _)| path.starts_with(below))
    }

    /// The directories in `parent` (`groups/`) that have an `etc/` or a document.
    pub(crate) fn directories(&self, parent: &str) -> BTreeSet<&str> {
        let paths = self.contents.keys().chain(self.leaves.keys());
        let inside = paths.filter_map(|path| path.strip_prefix(parent));
        inside
            .filter_map(|path| Some(path.split_once('/')?.0))
            .collect()
    }
}

/// The documents of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Those that all hosts share.
    pub shared: Documents,
    /// Those of each host, by what its directory in `pservers/` is called.
    pub hosts: BTreeMap<String, Documents>,
    /// Those of domUs, by what their directory in `vservers/` is called.
    pub vservers: BTreeMap<String, Documents>,
}

impl Files {
    /// The longest document that is read, in bytes.
    pub const LONGEST: usize = 1 << 20;

    /// Most bytes of all files together that one host's part of a commit may have: it goes to RAM.
    pub const LARGEST_PART: u64 = 64 << 20;

    /// How many directories deep layers and exports may be.
    pub const DEEPEST: usize = 32;

    /// No documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the file at `path` is a document, so that its content is wanted.
    pub fn wants(path: &str) -> bool {
        let is_document = |name: &str| name.ends_with(".toml") && !name.starts_with('.');
        match parts(path) {
            [
                Some("domus.toml" | LOCK | MEDIA | trust::DOCUMENT | trust::SIGNATURES),
                None,
                ..,
            ]
            | [Some("global"), Some("hosts" | "etc.toml"), None, ..] => true,
            [Some(trust::EARLIER), Some(file), None, ..] => {
                file.ends_with(".toml") || file.ends_with(".sig")
            }
            [Some("pservers"), Some(host), Some("host.toml"), None, _] => !host.starts_with('.'),
            [
                Some("pservers" | "vservers" | "groups"),
                Some(name),
                Some("etc.toml"),
                None,
                _,
            ] => !name.starts_with('.'),
            [
                Some("pservers"),
                Some(host),
                Some(directory),
                Some(file),
                None,
            ] if directory != "etc" => {
                // Other spellings are read too, so that `check` can say that they are wrong.
                directory.eq_ignore_ascii_case("domUs")
                    && !host.starts_with('.')
                    && is_document(file)
            }
            [Some("images"), Some(file), None, ..] => is_document(file),
            [Some(LISTS), Some(_), None, ..] => {
                EtcList::name_of(path).is_some() || Vocabulary::release_of(path).is_some()
            }
            _ => Self::lists(path) && (path.ends_with(TEMPLATE) || path.ends_with(SECRET)),
        }
    }

    /// Whether the file at `path` is laid over `/etc`, so that it is wanted that it is there.
    pub fn lists(path: &str) -> bool {
        let mut parts = path.split('/');
        let named = |name: Option<&str>| name.is_some_and(|name| !name.starts_with('.'));
        let has_etc = match parts.next() {
            Some("global") => parts.next() == Some("etc"),
            Some("pservers" | "vservers" | "groups") => {
                named(parts.next()) && parts.next() == Some("etc")
            }
            _ => false,
        };
        has_etc && parts.next().is_some_and(|name| !name.is_empty())
    }

    /// Adds a document. Of one that is longer than [`Files::LONGEST`] its beginning is enough.
    pub fn insert(&mut self, path: impl Into<String>, content: Vec<u8>) {
        let path = path.into();
        self.home(&path).insert(path, content);
    }

    /// Takes a document out, if it is there.
    pub fn remove(&mut self, path: &str) -> bool {
        self.home(path).remove(path)
    }

    /// Adds a document that could not be read, and why: `is a symbolic link`.
    pub fn insert_unreadable(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        let path = path.into();
        self.home(&path).insert_unreadable(path, reason);
    }

    /// Adds what is in the `etc/` of a layer.
    pub fn insert_leaf(&mut self, path: impl Into<String>, leaf: Leaf) {
        let path = path.into();
        self.home(&path).insert_leaf(path, leaf);
    }

    /// The host to which the document at `path` belongs, if to one.
    pub fn host_of(path: &str) -> Option<&str> {
        path.strip_prefix("pservers/")?.split('/').next()
    }

    /// The domU to which the document at `path` belongs, if it is in its `vservers/`.
    pub fn vserver_of(path: &str) -> Option<&str> {
        path.strip_prefix("vservers/")?.split('/').next()
    }

    fn home(&mut self, path: &str) -> &mut Documents {
        match (Self::host_of(path), Self::vserver_of(path)) {
            (Some(host), _) => self.hosts.entry(host.to_owned()).or_default(),
            (_, Some(domu)) => self.vservers.entry(domu.to_owned()).or_default(),
            _ => &mut self.shared,
        }
    }

    /// The content of a document; empty where there is none.
    pub fn content(&self, path: &str) -> &[u8] {
        let documents = match (Self::host_of(path), Self::vserver_of(path)) {
            (Some(host), _) => self.hosts.get(host),
            (_, Some(domu)) => self.vservers.get(domu),
            _ => Some(&self.shared),
        };
        match documents.and_then(|documents| documents.contents.get(path)) {
            Some(Ok(content)) => content,
            _ => &[],
        }
    }
}

/// The first parts of a path, and nothing where it has no more.
pub(crate) fn parts(path: &str) -> [Option<&str>; 5] {
    // A simple search: paths are short, and of a large fleet there are millions.
    let mut rest = Some(path);
    std::array::from_fn(|_| {
        let path = rest.take()?;
        let Some(end) = path.bytes().position(|byte| byte == b'/') else {
            return Some(path);
        };
        rest = Some(&path[end + 1..]);
        Some(&path[..end])
    })
}

/// The ending of a file in a layer that is encrypted.
pub const SECRET: &str = ".age";

/// The ending of a file in a layer that is filled with variables first.
pub const TEMPLATE: &str = ".tmpl";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_known_by_their_paths() {
        let documents = [
            "domus.toml",
            "trust.toml",
            "trust.sig",
            "trust/1.toml",
            "trust/1.sig",
            "domus.lock",
            "media.toml",
            "pservers/alpha/host.toml",
            "pservers/alpha/domUs/web.toml",
            "pservers/alpha/domus/web.toml",
            "pservers/alpha/etc.toml",
            "pservers/alpha/etc/motd.tmpl",
            "groups/web/etc.toml",
            "vservers/web/etc.toml",
            "vservers/web/etc/deep/down/x.conf.tmpl",
            "images/web.toml",
            "locked/web@7.etc",
            "locked/1.schema",
            "global/hosts",
            "global/etc.toml",
            "global/etc/.x.tmpl",
        ];
        let others = [
            "",
            "other.toml",
            "domus.toml/x",
            "global/domus.lock",
            "pservers/host.toml",
            "pservers/.alpha/host.toml",
            "pservers/alpha/etc/x.toml",
            "pservers/alpha/domUs/.web.toml",
            "pservers/alpha/domUs/web.toml~",
            "pservers/alpha/domUs/deep/web.toml",
            "images/web/x.toml",
            "locked/web@7",
            "/domus.toml",
            "global/x.tmpl",
            "vservers/etc/x.tmpl",
            "groups/.web/etc.toml",
            "trust/1",
            "trust/1/1.toml",
        ];
        assert!(documents.into_iter().all(Files::wants));
        assert!(!others.into_iter().any(Files::wants));
    }

    #[test]
    fn what_is_laid_over_etc_is_known_by_its_path() {
        let laid = [
            "global/etc/motd",
            "groups/web/etc/motd",
            "pservers/alpha/etc/domUs/x.toml",
            "vservers/web/etc/etc/x",
        ];
        let others = [
            "global/etc",
            "global/etc/",
            "global/hosts",
            "etc/motd",
            "pservers/etc/motd",
            "pservers/.alpha/etc/motd",
            "images/web/etc/motd",
        ];
        assert!(laid.into_iter().all(Files::lists));
        assert!(!others.into_iter().any(Files::lists));
    }

    #[test]
    fn domus_of_a_host_are_those_with_a_document() {
        let mut documents = Documents::new();
        documents.insert("pservers/alpha/host.toml", Vec::new());
        documents.insert("pservers/alpha/domUs/web.toml", Vec::new());
        documents.insert("pservers/alpha/domus/mail.toml", Vec::new());
        assert_eq!(documents.domus().collect::<Vec<_>>(), ["web"]);
    }
}
