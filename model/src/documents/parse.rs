// SPDX-License-Identifier: GPL-3.0-or-later
//! From the bytes of one document to its TOML, or to why it is none.

use super::notes::Notes;
use super::syntax::Toml;
use super::table::{Layer, Table};
use crate::bad_value::{BadValue, shown};
use crate::diagnostic::{Diagnostic, Place};
use crate::files::Files;
use crate::names::Name;
use crate::show::Origin;
use std::ops::Range;
use std::sync::Arc;

/// One document.
#[derive(Debug)]
pub(crate) struct Doc<T> {
    /// Its path in the repository.
    pub(crate) path: Arc<str>,
    /// The name its path gives it, if that is one.
    pub(crate) name: Option<Name>,
    /// What it says; `None` if it cannot be read at all.
    pub(crate) body: Option<T>,
}

impl<T> Doc<T> {
    /// The document as a whole.
    pub(crate) fn place(&self) -> Place {
        Place::new(&self.path, 0..0)
    }
}

/// The TOML of a document; why there is none is noted.
pub(super) fn parse<'c>(
    path: &Arc<str>,
    content: Result<&'c [u8], &str>,
    notes: &mut Vec<Diagnostic>,
) -> Option<Toml<'c>> {
    let text = text(path, content).map_err(|problem| notes.push(problem));
    let text = text.ok()?;
    match Toml::parse(text) {
        Ok(toml) => Some(toml),
        Err(error) => {
            notes.push(no_toml(path, text, &error));
            None
        }
    }
}

/// Reads a parsed document, which lies over the tables `below`.
pub(super) fn read<T>(
    own: Layer<'_>,
    below: &[Layer<'_>],
    notes: &mut Vec<Diagnostic>,
    body: impl FnOnce(&Table<'_>) -> T,
) -> Option<T> {
    let document = Notes::new(own.file);
    let result = Table::document(&document, own, below, body);
    notes.extend(document.into_inner().0);
    result
}

/// Where the settings of a parsed document, and of those below it, are written.
pub(super) fn trace<T>(
    own: Layer<'_>,
    below: &[Layer<'_>],
    body: impl FnOnce(&Table<'_>) -> T,
) -> Vec<Origin> {
    let document = Notes::tracing(own.file);
    Table::document(&document, own, below, |table| drop(body(table)));
    document.into_inner().1
}

/// What the file of a document is called without its ending.
pub(super) fn stem(file: &str) -> &str {
    file.strip_suffix(".toml").unwrap_or(file)
}

/// The name that part of a path gives; `what` says which part.
pub(super) fn name_of(
    what: &str,
    text: &str,
    path: &Arc<str>,
    notes: &mut Vec<Diagnostic>,
) -> Option<Name> {
    let bad: BadValue = match text.parse() {
        Ok(name) => return Some(name),
        Err(bad) => bad,
    };
    let problem = bad.problem.replace(" is no", ", no");
    let message = format!("the {what} is called {problem}");
    notes.push(Place::new(path, 0..0).error(message).help(bad.advice));
    None
}

pub(super) fn text<'c>(
    path: &Arc<str>,
    content: Result<&'c [u8], &str>,
) -> Result<&'c str, Diagnostic> {
    let content = content.map_err(|reason| {
        let message = format!("this document {reason}");
        Place::new(path, 0..0)
            .error(message)
            .help("make it a plain file that you may read")
    })?;
    if content.len() > Files::LONGEST {
        let message = "this document is longer than 1MiB";
        let help = "documents are written by people; was something else put here?";
        return Err(Place::new(path, 0..0).error(message).help(help));
    }
    std::str::from_utf8(content).map_err(|error| {
        let at = error.valid_up_to();
        let bad = error.error_len().unwrap_or(content.len() - at);
        Place::new(path, at..at + bad)
            .error("this document is not UTF-8 text")
            .help("save it in UTF-8; `iconv -f latin1 -t utf8` converts it from Latin-1")
    })
}

fn no_toml(path: &Arc<str>, text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = whole_characters(text, error.span().unwrap_or(0..0));
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
    Place::new(path, span).error(message).help(help)
}

/// What to point at in `text`: whole characters of it, and at least one if there is one.
fn whole_characters(text: &str, span: Range<usize>) -> Range<usize> {
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
            assert_eq!(whole_characters(text, span.clone()), expected, "{span:?}");
        }
        assert_eq!(whole_characters("", 0..0), 0..0);
    }
}
