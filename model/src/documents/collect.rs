//! All documents of a repository, each read as far as it can be.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::notes::Notes;
use super::table::Table;
use super::{DomUDoc, FleetDoc, HostDoc, RecipeDoc};
use crate::bad_value::shown;
use crate::diagnostic::Diagnostic;
use crate::load::{Counts, Files};
use crate::names::Name;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::de::DeTable;

/// One document.
#[derive(Debug)]
pub(crate) struct Doc<T> {
    /// Its path in the repository.
    pub(crate) path: String,
    /// The name its path gives it, if that is one.
    pub(crate) name: Option<Name>,
    /// What it says; `None` if it cannot be read at all.
    pub(crate) body: Option<T>,
}

/// A host's documents.
#[derive(Debug, Default)]
pub(crate) struct HostDocs {
    /// `host.toml`, if there is one.
    pub(crate) host: Option<Doc<HostDoc>>,
    /// Its domUs by what their paths call them, be that a name or not.
    pub(crate) domus: BTreeMap<String, Doc<DomUDoc>>,
}

/// The documents of a repository.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) fleet: Option<Doc<FleetDoc>>,
    /// Hosts by what their directories are called, be that a name or not.
    pub(crate) hosts: BTreeMap<String, HostDocs>,
    /// Recipes by what their files are called, be that a name or not.
    pub(crate) images: BTreeMap<String, Doc<RecipeDoc>>,
}

impl Documents {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            hosts: self.hosts.len(),
            domus: self.hosts.values().map(|host| host.domus.len()).sum(),
            images: self.images.len(),
        }
    }
}

/// Reads all documents, and notes what cannot be read.
pub(crate) fn collect(files: &Files, notes: &mut Vec<Diagnostic>) -> Documents {
    let mut documents = Documents::default();
    for (path, content) in files.iter() {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["domus.toml"] => {
                let body = read(path, content, notes, FleetDoc::read);
                documents.fleet = Some(doc(path, None, body));
            }
            ["pservers", host, "host.toml"] => {
                let name = name_of("host's directory", host, path, notes);
                let body = read(path, content, notes, HostDoc::read);
                let docs = documents.hosts.entry(host.to_owned()).or_default();
                docs.host = Some(doc(path, name, body));
            }
            ["pservers", host, "domUs", file] => {
                let stem = stem(file);
                let name = name_of("domU's file", stem, path, notes);
                let body = read(path, content, notes, |table| DomUDoc::read(table, path));
                let docs = documents.hosts.entry(host.to_owned()).or_default();
                docs.domus.insert(stem.to_owned(), doc(path, name, body));
            }
            ["pservers", _, directory, _] => {
                let message = format!("this file is in {directory}/, where nobody looks for it");
                let help = "call the directory domUs";
                notes.push(Diagnostic::error(message, path, 0..0).help(help));
            }
            ["images", file] => {
                let stem = stem(file);
                let name = name_of("recipe's file", stem, path, notes);
                let body = read(path, content, notes, RecipeDoc::read);
                documents
                    .images
                    .insert(stem.to_owned(), doc(path, name, body));
            }
            _ => {}
        }
    }
    documents
}

fn doc<T>(path: &str, name: Option<Name>, body: Option<T>) -> Doc<T> {
    Doc {
        path: path.to_owned(),
        name,
        body,
    }
}

fn stem(file: &str) -> &str {
    file.strip_suffix(".toml").unwrap_or(file)
}

/// The name that part of a path gives; `what` says which part.
fn name_of(what: &str, text: &str, path: &str, notes: &mut Vec<Diagnostic>) -> Option<Name> {
    match text.parse() {
        Ok(name) => Some(name),
        Err(bad) => {
            let bad: crate::BadValue = bad;
            let message = format!(
                "the {what} is called {}",
                bad.problem.replace(" is no", ", no")
            );
            notes.push(Diagnostic::error(message, path, 0..0).help(bad.advice));
            None
        }
    }
}

/// Reads one document; `None` if it cannot be read at all, which is noted.
fn read<T>(
    path: &str,
    content: Result<&[u8], &str>,
    notes: &mut Vec<Diagnostic>,
    body: impl FnOnce(&Table<'_>) -> T,
) -> Option<T> {
    let text = text(path, content).map_err(|problem| notes.push(problem));
    let text = text.ok()?;
    let entries = match DeTable::parse(text) {
        Ok(entries) => entries,
        Err(error) => {
            notes.push(no_toml(path, text, &error));
            return None;
        }
    };
    let document = Notes::new(path);
    let result = Table::document(&document, entries.get_ref(), body);
    notes.extend(document.into_inner());
    result
}

fn text<'c>(path: &str, content: Result<&'c [u8], &str>) -> Result<&'c str, Diagnostic> {
    let content = content.map_err(|reason| {
        let message = format!("this document {reason}");
        Diagnostic::error(message, path, 0..0).help("make it a plain file that you may read")
    })?;
    if content.len() > Files::LONGEST {
        let message = "this document is longer than 1MiB";
        let help = "documents are written by people; was something else put here?";
        return Err(Diagnostic::error(message, path, 0..0).help(help));
    }
    std::str::from_utf8(content).map_err(|error| {
        let at = error.valid_up_to();
        let bad = error.error_len().unwrap_or(content.len() - at);
        Diagnostic::error("this document is not UTF-8 text", path, at..at + bad)
            .help("save it in UTF-8; `iconv -f latin1 -t utf8` converts it from Latin-1")
    })
}

fn no_toml(path: &str, text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = place(text, error.span().unwrap_or(0..0));
    let found = shown(text[span.clone()].trim());
    // What people do is named in their words; the rest is the parser's own account.
    let (message, help) = match error.message() {
        "duplicate key" => (
            format!("{found} is there twice"),
            "keep one of the two".to_owned(),
        ),
        no_quotes if no_quotes.starts_with("string values must be quoted") => {
            match found.as_str() {
                "" => (
                    "a value is missing".to_owned(),
                    "write it after the =".to_owned(),
                ),
                _ => (
                    format!("{found} has no quotes"),
                    format!("write \"{found}\""),
                ),
            }
        }
        other => (
            format!("this is not TOML: {other}"),
            "write key = value, strings in \"quotes\", and [tables] on lines of their own"
                .to_owned(),
        ),
    };
    Diagnostic::error(message, path, span).help(help)
}

/// What to point at in `text`: whole characters of it, and at least one if there is one.
fn place(text: &str, span: Range<usize>) -> Range<usize> {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let begin = |at: usize| (0..=at.min(text.len())).rev().find(is_boundary);
    let end = |at: usize| (at.min(text.len())..=text.len()).find(is_boundary);
    let start = begin(span.start).unwrap_or(0);
    let next = end(start + 1).unwrap_or(text.len());
    start..end(span.end).unwrap_or(text.len()).max(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_whole_characters() {
        let text = "aüb";
        let cases = [
            (0..0, 0..1),
            (1..1, 1..3),
            (2..2, 1..3),
            (2..9, 1..4),
            (4..4, 4..4),
            (9..9, 4..4),
        ];
        for (span, expected) in cases {
            assert_eq!(place(text, span.clone()), expected, "{span:?}");
        }
        assert_eq!(place("", 0..0), 0..0);
    }
}
