//! From the documents of a repository to a `Fleet`, or to all that is wrong with them.
// SPDX-License-Identifier: GPL-3.0-or-later

use crate::check::prove;
use crate::diagnostic::{Diagnostic, Severity};
use crate::documents::collect;
use crate::fleet::Fleet;
use crate::lower;
use std::collections::BTreeMap;

/// The documents of a repository by path, relative to its root and with `/` between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Result<Vec<u8>, String>>);

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
            ["domus.toml"] => true,
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
        self.0.insert(path.into(), Ok(content));
    }

    /// Adds a document that could not be read, and why: `is a symbolic link`.
    pub fn insert_unreadable(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.0.insert(path.into(), Err(reason.into()));
    }

    /// The content of a document; empty where there is none.
    pub fn content(&self, path: &str) -> &[u8] {
        match self.0.get(path) {
            Some(Ok(content)) => content,
            _ => &[],
        }
    }

    /// The documents by path; of one that could not be read, why.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Result<&[u8], &str>)> {
        self.0.iter().map(|(path, content)| {
            let content = content.as_deref().map_err(String::as_str);
            (path.as_str(), content)
        })
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

/// Reads and proves all documents.
pub fn check(files: &Files) -> Checked {
    let mut diagnostics = Vec::new();
    let documents = collect(files, &mut diagnostics);
    prove(&documents, &mut diagnostics);
    let is_error = |note: &Diagnostic| note.severity == Severity::Error;
    let fleet = match diagnostics.iter().any(is_error) {
        true => None,
        false => lower::fleet(&documents),
    };
    diagnostics.sort_by(|a, b| a.order().cmp(&b.order()));
    Checked {
        fleet,
        diagnostics: shorten(diagnostics),
        counts: documents.counts(),
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
            let mut more = Diagnostic::error(message, first.order().0, 0..0);
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
