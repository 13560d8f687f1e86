// SPDX-License-Identifier: GPL-3.0-or-later
//! From the documents of a repository to a `Fleet`, or to all that is wrong with them.

use crate::check::claims::Claims;
use crate::check::{Load, prove_host, prove_shared, prove_spare};
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::documents::{HostDocs, Shared};
use crate::fleet::{Fleet, Host};
use crate::lower;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Documents by path, relative to the root of their repository and with `/` between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents(BTreeMap<Arc<str>, Result<Vec<u8>, String>>);

impl Documents {
    /// No documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a document. Of one that is longer than [`Files::LONGEST`] its beginning is enough.
    pub fn insert(&mut self, path: impl Into<Arc<str>>, content: Vec<u8>) {
        self.0.insert(path.into(), Ok(content));
    }

    /// Adds a document that could not be read, and why: `is a symbolic link`.
    pub fn insert_unreadable(&mut self, path: impl Into<Arc<str>>, reason: impl Into<String>) {
        self.0.insert(path.into(), Err(reason.into()));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one at `path`, readable or not.
    pub fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The documents by path; of one that could not be read, why.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Result<&[u8], &str>)> {
        self.0.iter().map(|(path, content)| {
            let content = content.as_deref().map_err(String::as_str);
            (path, content)
        })
    }
}

/// The documents of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Those that all hosts share.
    pub shared: Documents,
    /// Those of each host, by what its directory is called.
    pub hosts: BTreeMap<String, Documents>,
}

impl Files {
    /// No documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the file at `path` is a document; readers need read nothing else.
    pub fn wants(path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let is_document = |name: &str| name.ends_with(".toml") && !name.starts_with('.');
        match parts[..] {
            ["domus.toml"] | ["global", "hosts"] => true,
            ["pservers", host, "host.toml"] => !host.starts_with('.'),
            ["pservers", host, directory, file] => {
                // Other spellings are read too, so that `check` can say that they are wrong.
                directory.eq_ignore_ascii_case("domUs")
                    && !host.starts_with('.')
                    && is_document(file)
            }
            ["images", file] => is_document(file),
            _ => false,
        }
    }

    /// Adds a document. Of one that is longer than [`Files::LONGEST`] its beginning is enough.
    pub fn insert(&mut self, path: impl Into<String>, content: Vec<u8>) {
        let path = path.into();
        self.home(&path).insert(path, content);
    }

    /// Adds a document that could not be read, and why: `is a symbolic link`.
    pub fn insert_unreadable(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        let path = path.into();
        self.home(&path).insert_unreadable(path, reason);
    }

    /// The host to which the document at `path` belongs, if to one.
    pub fn host_of(path: &str) -> Option<&str> {
        path.strip_prefix("pservers/")?.split('/').next()
    }

    fn home(&mut self, path: &str) -> &mut Documents {
        match Self::host_of(path) {
            Some(host) => self.hosts.entry(host.to_owned()).or_default(),
            None => &mut self.shared,
        }
    }

    /// The content of a document; empty where there is none.
    pub fn content(&self, path: &str) -> &[u8] {
        let documents = match Self::host_of(path) {
            Some(host) => self.hosts.get(host),
            None => Some(&self.shared),
        };
        match documents.and_then(|documents| documents.0.get(path)) {
            Some(Ok(content)) => content,
            _ => &[],
        }
    }

    /// The longest document that is read, in bytes.
    pub const LONGEST: usize = 1 << 20;
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The fleet, if there is no error.
    pub fleet: Option<Fleet>,
    /// All problems of all documents, by document and place.
    pub diagnostics: Vec<Diagnostic>,
    /// How many hosts, domUs and images there are, broken ones included.
    pub counts: Counts,
}

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Directories in `pservers/` that hold documents.
    pub hosts: usize,
    /// Documents of domUs.
    pub domus: usize,
    /// Recipes of images.
    pub images: usize,
}

/// The fleet that these documents describe.
///
/// # Errors
/// All problems of all documents, warnings included, if one of them is an error.
pub fn load(files: &Files) -> Result<Fleet, Vec<Diagnostic>> {
    let checked = check(files);
    checked.fleet.ok_or(checked.diagnostics)
}

/// The same for the part of a fleet that one host has: what only all hosts together can show is
/// not asked of it.
///
/// # Errors
/// As [`load`].
pub fn load_slice(files: &Files) -> Result<Fleet, Vec<Diagnostic>> {
    let checked = prove(files, Scope::Slice);
    checked.fleet.ok_or(checked.diagnostics)
}

/// Which documents are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of all hosts.
    Fleet,
    /// Those of one host, and what all share.
    Slice,
}

/// Reads and proves all documents.
pub fn check(files: &Files) -> Checked {
    prove(files, Scope::Fleet)
}

fn prove(files: &Files, scope: Scope) -> Checked {
    let frame = Frame::read(&files.shared);
    let mut proof = Proof::new(&frame);
    let mut hosts = BTreeMap::new();
    for (directory, documents) in &files.hosts {
        if let Some(host) = proof.host(directory, documents) {
            hosts.insert(host.name.clone(), host);
        }
    }
    let (diagnostics, counts) = proof.finish(scope);
    let is_error = |note: &Diagnostic| note.severity == Severity::Error;
    let fleet = match diagnostics.iter().any(is_error) {
        true => None,
        false => frame.fleet().map(|fleet| Fleet { hosts, ..fleet }),
    };
    Checked {
        fleet,
        diagnostics,
        counts,
    }
}

/// What all hosts share, read.
#[derive(Debug)]
pub struct Frame<'t> {
    shared: Shared<'t>,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Frame<'t> {
    /// Reads it from the documents that are no host's.
    pub fn read(documents: &'t Documents) -> Self {
        let mut diagnostics = Vec::new();
        let shared = Shared::read(documents, &mut diagnostics);
        prove_shared(&shared, &mut diagnostics);
        Self {
            shared,
            diagnostics,
        }
    }

    pub(crate) fn shared(&self) -> &Shared<'t> {
        &self.shared
    }

    /// The fleet without its hosts, as far as these documents go.
    pub fn fleet(&self) -> Option<Fleet> {
        lower::fleet(&self.shared)
    }
}

/// The proof of a fleet, host by host. Hosts can be forgotten as soon as they were added; several
/// proofs of one frame, made in parallel, are joined.
#[derive(Debug)]
pub struct Proof<'f> {
    frame: &'f Frame<'f>,
    diagnostics: Vec<Diagnostic>,
    /// Those in documents of no host: what many hosts take from one place is said once.
    elsewhere: HashSet<Diagnostic>,
    claims: Claims,
    loads: Vec<Load>,
    counts: Counts,
}

impl<'f> Proof<'f> {
    /// The proof of no hosts yet.
    pub fn new(frame: &'f Frame<'f>) -> Self {
        Self {
            frame,
            diagnostics: Vec::new(),
            elsewhere: HashSet::new(),
            claims: Claims::default(),
            loads: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Adds the host whose directory in `pservers/` is called so, and gives what its documents
    /// describe, if they have no error by themselves.
    pub fn host(&mut self, directory: &str, documents: &Documents) -> Option<Host> {
        let shared = &self.frame.shared;
        let mut notes = Vec::new();
        let docs = HostDocs::read(shared, directory, documents, &mut notes);
        prove_host(shared, &docs, &mut notes);
        self.claims.add(shared, &docs);
        self.loads.extend(Load::of(shared, &docs));
        self.counts.hosts += 1;
        self.counts.domus += docs.domus.len();
        let is_error = |note: &Diagnostic| note.severity == Severity::Error;
        let host = match notes.iter().any(is_error) {
            true => None,
            false => lower::host(shared, &docs),
        };
        for note in notes {
            match Files::host_of(note.order().0) {
                Some(_) => self.diagnostics.push(note),
                None => drop(self.elsewhere.insert(note)),
            }
        }
        host
    }

    /// Adds all that another proof of the same frame has seen.
    pub fn join(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
        self.elsewhere.extend(other.elsewhere);
        self.claims.join(other.claims);
        self.loads.extend(other.loads);
        self.counts.hosts += other.counts.hosts;
        self.counts.domus += other.counts.domus;
    }

    /// All problems, by document and place, and how many there are of what.
    pub fn finish(self, scope: Scope) -> (Vec<Diagnostic>, Counts) {
        let shared = &self.frame.shared;
        let mut diagnostics: Vec<Diagnostic> = self.elsewhere.into_iter().collect();
        diagnostics.sort_by(|a, b| a.message.cmp(&b.message));
        diagnostics.extend(self.diagnostics);
        diagnostics.extend(self.frame.diagnostics.iter().cloned());
        self.claims.conflicts(&mut diagnostics);
        if scope == Scope::Fleet {
            prove_spare(shared, self.loads, &mut diagnostics);
        }
        let images = shared.images.len();
        diagnostics.sort_by(|a, b| a.order().cmp(&b.order()));
        let counts = Counts {
            images,
            ..self.counts
        };
        (shorten(diagnostics), counts)
    }
}

/// Keeps the first [`MOST_SHOWN`] problems of each document, and says how many more there are.
fn shorten(sorted: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut kept = Vec::new();
    for of_one in sorted.chunk_by(|a, b| a.order().0 == b.order().0) {
        let (shown, rest) = of_one.split_at(of_one.len().min(MOST_SHOWN));
        kept.extend_from_slice(shown);
        if let Some(first) = rest.first() {
            let message = format!("{} more problems in this document", rest.len());
            let mut more = Place::whole(first.order().0).error(message);
            more.severity = rest
                .iter()
                .map(|note| note.severity)
                .min()
                .unwrap_or(more.severity);
            kept.push(more.help("correct those above, and check again"));
        }
    }
    kept
}

/// How many problems of one document are shown.
const MOST_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_known_by_their_paths() {
        let documents = [
            "domus.toml",
            "pservers/alpha/host.toml",
            "pservers/alpha/domUs/web.toml",
            "pservers/alpha/domus/web.toml",
            "images/web.toml",
            "global/hosts",
        ];
        let others = [
            "",
            "other.toml",
            "domus.toml/x",
            "pservers/host.toml",
            "pservers/.alpha/host.toml",
            "pservers/alpha/etc/x.toml",
            "pservers/alpha/domUs/.web.toml",
            "pservers/alpha/domUs/web.toml~",
            "pservers/alpha/domUs/deep/web.toml",
            "images/web/x.toml",
            "/domus.toml",
        ];
        assert!(documents.into_iter().all(Files::wants));
        assert!(!others.into_iter().any(Files::wants));
    }

    #[test]
    fn documents_that_cannot_be_read_are_reported() {
        let mut files = Files::new();
        files.insert("domus.toml", vec![b'#'; Files::LONGEST + 1]);
        files.insert_unreadable("images/web.toml", "is no plain file");
        let messages = load(&files).map_err(|notes| {
            let messages = notes.into_iter().map(|note| note.message);
            messages.collect::<Vec<_>>()
        });
        let expected = [
            "this document is longer than 1MiB",
            "this document is no plain file",
        ];
        assert_eq!(messages, Err(expected.map(str::to_owned).to_vec()));
    }
}
