// SPDX-License-Identifier: GPL-3.0-or-later
//! From the documents of a repository to a `Fleet`, or to all that is wrong with them.

pub use crate::check::Moved;
use crate::check::claims::{Claims, rival};
pub use crate::documents::groups_of;

use crate::check::{Load, Roaming, prove_host, prove_moved, prove_shared, prove_spare};
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::documents::{HostDocs, Shared};
use crate::files::{Documents, Files};
use crate::fleet::{Fleet, Host};
use crate::lower;
use crate::vouch::{ClaimId, Seen, Vouched};
use std::collections::{BTreeMap, HashMap};

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

/// The same for the part of a fleet that one host has, and the warnings: what only all hosts
/// together can show is not asked of it, and a key that its release does not know is a warning. Who
/// publishes a commit has proved it by a Domus that knows them all.
///
/// # Errors
/// As [`load`].
pub fn load_slice(files: &Files) -> Result<(Fleet, Vec<Diagnostic>), Vec<Diagnostic>> {
    let checked = prove(files, Scope::Slice);
    match checked.fleet {
        Some(fleet) => Ok((fleet, checked.diagnostics)),
        None => Err(checked.diagnostics),
    }
}

/// Which documents are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'n> {
    /// Those of all hosts.
    Fleet {
        /// The names of all directories in `vservers/`.
        vservers: &'n [String],
        /// domUs that are on another host than they were, as far as that is known.
        moved: &'n [Moved],
    },
    /// Those of one host, and what all share.
    Slice,
}

/// Reads and proves all documents.
pub fn check(files: &Files) -> Checked {
    let vservers: Vec<String> = files.vservers.keys().cloned().collect();
    let vservers = &vservers;
    let moved = &[];
    prove(files, Scope::Fleet { vservers, moved })
}

fn prove(files: &Files, scope: Scope<'_>) -> Checked {
    let frame = match scope {
        Scope::Fleet { .. } => Frame::read(&files.shared),
        Scope::Slice => Frame::of_host(&files.shared),
    };
    let mut proof = Proof::new(&frame);
    let mut hosts = BTreeMap::new();
    for (directory, documents) in &files.hosts {
        if let Some(host) = proof.host(directory, documents, &files.vservers) {
            hosts.insert(host.name.clone(), host);
        }
    }
    let (diagnostics, counts) = proof.finish(scope);
    let fleet = match diagnostics.iter().any(Diagnostic::is_error) {
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
    /// Whether a host reads, and no person.
    is_host: bool,
}

impl<'t> Frame<'t> {
    /// Reads it from the documents that are no host's.
    pub fn read(documents: &'t Documents) -> Self {
        Self::new(documents, false)
    }

    /// The same for a host, whose release may be older than what is written.
    fn of_host(documents: &'t Documents) -> Self {
        Self::new(documents, true)
    }

    fn new(documents: &'t Documents, is_host: bool) -> Self {
        let mut diagnostics = Vec::new();
        let shared = Shared::read(documents, &mut diagnostics);
        prove_shared(&shared, &mut diagnostics);
        let mut frame = Self {
            shared,
            diagnostics: Vec::new(),
            is_host,
        };
        frame.diagnostics = frame.judged(diagnostics);
        frame
    }

    /// What these problems are to who reads.
    fn judged(&self, mut notes: Vec<Diagnostic>) -> Vec<Diagnostic> {
        for note in notes
            .iter_mut()
            .filter(|note| self.is_host && note.is_unknown)
        {
            note.severity = Severity::Warning;
        }
        notes
    }

    pub(crate) fn shared(&self) -> &Shared<'t> {
        &self.shared
    }

    /// What is wrong with these documents by themselves.
    pub fn problems(&self) -> &[Diagnostic] {
        &self.diagnostics
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
    /// Those in documents of no host: what many hosts take from one place is said once, with the
    /// remark for the first of them and how many there are.
    elsewhere: HashMap<Diagnostic, (String, usize)>,
    claims: Claims,
    loads: Vec<Load>,
    roaming: Roaming,
    seen: Vec<Seen>,
    counts: Counts,
}

impl<'f> Proof<'f> {
    /// The proof of no hosts yet.
    pub fn new(frame: &'f Frame<'f>) -> Self {
        Self {
            frame,
            diagnostics: Vec::new(),
            elsewhere: HashMap::new(),
            claims: Claims::default(),
            loads: Vec::new(),
            roaming: Roaming::default(),
            seen: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Adds the host whose directory in `pservers/` is called so, and gives what its documents
    /// describe, if they have no error by themselves. `vservers`: the documents of at least its
    /// domUs' own directories.
    pub fn host(
        &mut self,
        directory: &str,
        documents: &Documents,
        vservers: &BTreeMap<String, Documents>,
    ) -> Option<Host> {
        let (docs, layers, has_errors) = self.read(directory, documents, vservers);
        match has_errors {
            true => None,
            false => lower::host(&self.frame.shared, &docs, layers),
        }
    }

    /// The same for who only wants it proved.
    pub fn add(
        &mut self,
        directory: &str,
        documents: &Documents,
        vservers: &BTreeMap<String, Documents>,
    ) {
        self.read(directory, documents, vservers);
    }

    fn read(
        &mut self,
        directory: &str,
        documents: &Documents,
        vservers: &BTreeMap<String, Documents>,
    ) -> (HostDocs, lower::Layers, bool) {
        let shared = &self.frame.shared;
        let mut notes = Vec::new();
        let docs = HostDocs::read(shared, directory, documents, vservers, &mut notes);
        prove_host(shared, &docs, &mut notes);
        let layers = lower::layers(shared, &docs, &mut notes);
        let notes = self.frame.judged(notes);
        self.claims.add(shared, &docs);
        self.loads.extend(Load::of(shared, &docs));
        let roams = self.roaming.add(shared, &docs);
        self.counts.hosts += 1;
        self.counts.domus += docs.domus.len();
        self.seen.push(Seen {
            directory: directory.to_owned(),
            domus: docs.domus.len(),
            claims: self.claims.len(),
            // What it may run on are others, which may change while it does not.
            is_clean: notes.is_empty() && !roams,
        });
        let has_errors = notes.iter().any(Diagnostic::is_error);
        for note in notes {
            match Files::host_of(note.order().0) {
                Some(_) => self.diagnostics.push(note),
                None => self.note_elsewhere(note),
            }
        }
        (docs, layers, has_errors)
    }

    /// Adds all that another proof of the same frame has seen.
    pub fn join(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
        for (note, (remark, hosts)) in other.elsewhere {
            self.add_elsewhere(note, remark, hosts);
        }
        let base = self.claims.len();
        self.claims.join(other.claims);
        self.loads.extend(other.loads);
        self.roaming.join(other.roaming);
        self.seen.extend(other.seen.into_iter().map(|seen| Seen {
            claims: base + seen.claims,
            ..seen
        }));
        self.counts.hosts += other.counts.hosts;
        self.counts.domus += other.counts.domus;
    }

    /// Takes so many hosts with so many domUs as proved, for which another proof of the same frame
    /// vouched, and of whose claims nobody who was added has one: see [`Proof::claimed`].
    pub fn rely(&mut self, hosts: usize, domus: usize, loads: impl IntoIterator<Item = Load>) {
        self.counts.hosts += hosts;
        self.counts.domus += domus;
        self.loads.extend(loads);
    }

    /// Whether a domU of these hosts may run on others, so that none may be left out.
    pub fn roams(&self) -> bool {
        self.roaming.has_guests()
    }

    /// All claims that nobody else may have beside the hosts that were added.
    pub fn claimed(&self) -> impl Iterator<Item = ClaimId> {
        let own = self.claims.ids(0..self.claims.len());
        own.flat_map(|claim| [Some(claim), rival(claim)].into_iter().flatten())
    }

    /// The hosts that were added and have no problem: none of their own, and nothing that another
    /// one that was added claims, too.
    pub fn vouch(&self) -> Vouched {
        Vouched::of(&self.seen, &self.claims, &self.loads)
    }

    fn note_elsewhere(&mut self, mut note: Diagnostic) {
        let remark = note.take_remark();
        self.add_elsewhere(note, remark, 1);
    }

    fn add_elsewhere(&mut self, note: Diagnostic, remark: String, hosts: usize) {
        let known = self.elsewhere.entry(note).or_default();
        if known.1 == 0 || remark < known.0 {
            known.0 = remark;
        }
        known.1 += hosts;
    }

    /// All problems, by document and place, and how many there are of what.
    pub fn finish(mut self, scope: Scope<'_>) -> (Vec<Diagnostic>, Counts) {
        let shared = &self.frame.shared;
        let elsewhere = self.elsewhere.into_iter();
        let elsewhere = elsewhere.map(|(note, (remark, times))| match times {
            // "for alpha": which of those who take it from here.
            2.. if remark.starts_with("for ") => {
                note.remark(format!("{remark} and {} more", times - 1))
            }
            _ => note.remark(remark),
        });
        let mut diagnostics: Vec<Diagnostic> = elsewhere.collect();
        diagnostics.sort_by(|a, b| a.message.cmp(&b.message));
        diagnostics.extend(self.diagnostics);
        diagnostics.extend(self.frame.diagnostics.iter().cloned());
        self.claims.sort();
        if let Scope::Fleet { vservers, moved } = scope {
            prove_moved(moved, &mut diagnostics);
            self.claims.prove_vservers(vservers, &mut diagnostics);
            prove_spare(shared, self.loads, &mut diagnostics);
            self.roaming.prove(&mut diagnostics);
        }
        self.claims.conflicts(&mut diagnostics);
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
    use crate::files::{BlobId, Leaf, LeafKind};

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

    #[test]
    fn files_that_no_host_takes_are_reported() {
        let mut files = Files::new();
        files.insert("domus.toml", b"version = 1\nfleet = \"small\"\n".to_vec());
        let (kind, id) = (LeafKind::Large, BlobId([0; 20]));
        files.insert_leaf("global/etc/big", Leaf { kind, id });
        let notes = check(&files).diagnostics;
        let mut messages = notes.iter().map(|note| note.message.as_str());
        assert!(messages.any(|it| it == "this file has more than 67108864 bytes"));
    }
}
