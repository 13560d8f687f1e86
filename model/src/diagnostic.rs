// SPDX-License-Identifier: GPL-3.0-or-later
//! `Diagnostic`: a problem in the documents, with the places it concerns.

use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The document's path in the repository. Shared, as a document has many places.
    pub file: Arc<str>,
    /// Where its bytes begin.
    pub start: usize,
    /// Where they end; 0 stands for the whole document.
    pub end: usize,
}

impl Place {
    /// These bytes of `file`.
    pub fn new(file: &Arc<str>, span: Range<usize>) -> Self {
        Self {
            file: Arc::clone(file),
            start: span.start,
            end: span.end,
        }
    }

    /// The whole of `file`.
    pub fn whole(file: impl Into<Arc<str>>) -> Self {
        Self {
            file: file.into(),
            start: 0,
            end: 0,
        }
    }

    /// Its bytes.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// An error here.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, message.into(), self)
    }

    /// A key here that nobody knows.
    pub(crate) fn unknown(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            is_unknown: true,
            ..self.error(message)
        }
    }

    /// A warning here.
    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, message.into(), self)
    }

    fn label(&self, primary: bool, text: String) -> Label {
        Label {
            file: self.file.to_string(),
            span: self.span(),
            primary,
            text: one_line(text),
        }
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing may be built from these documents.
    Error,
    /// Works, and is probably not what was meant.
    Warning,
}

/// A problem in the documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The places it concerns; at least one, the first of them primary.
    pub labels: Vec<Label>,
    /// What to write instead.
    pub help: Option<String>,
    /// Whether it is a key that nobody knows: a host's release may be older than the key.
    #[serde(skip)]
    pub(crate) is_unknown: bool,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Label {
    /// The document's path in the repository.
    pub file: String,
    /// Bytes of the document; an empty range at 0 stands for the whole of it.
    pub span: Range<usize>,
    /// Whether the problem is here; otherwise this place explains it.
    pub primary: bool,
    /// A remark on this place, possibly empty.
    pub text: String,
}

impl Diagnostic {
    fn new(severity: Severity, message: String, place: &Place) -> Self {
        Self {
            severity,
            message: one_line(message),
            labels: vec![place.label(true, String::new())],
            help: None,
            is_unknown: false,
        }
    }

    /// Whether nothing may be built from documents with this problem.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// One line for a console: the document and the problem.
    pub fn line(&self) -> String {
        let file = self.labels.first().map_or("", |label| label.file.as_str());
        format!("{file}: {}", self.message)
    }

    /// The same with a remark on its primary place.
    #[must_use]
    pub fn remark(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = self.labels.first_mut() {
            label.text = one_line(text.into());
        }
        self
    }

    /// Takes the remark on its primary place away; empty if there is none.
    pub(crate) fn take_remark(&mut self) -> String {
        let first = self.labels.first_mut();
        first.map_or(String::new(), |label| std::mem::take(&mut label.text))
    }

    /// The same with another place that explains it.
    #[must_use]
    pub fn see(mut self, place: &Place, text: impl Into<String>) -> Self {
        self.labels.push(place.label(false, text.into()));
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(one_line(help.into()));
        self
    }

    /// The order in which diagnostics are shown: by document, then by place.
    pub(crate) fn order(&self) -> (&str, usize) {
        let label = self.labels.first();
        label.map_or(("", 0), |label| (&label.file, label.span.start))
    }
}

impl Label {
    /// Whether the label stands for its whole document.
    pub fn is_whole_file(&self) -> bool {
        self.span == (0..0)
    }
}

/// `text` with control characters escaped: names of files come from git, where they may be any.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escape = |char: char| match char.is_control() {
        true => char.escape_debug().to_string(),
        false => char.to_string(),
    };
    text.chars().map(escape).collect()
}

/// A position in a document, for people and editors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// The position of byte `offset` in a document, or of its end where it is shorter. Bytes that are
/// no UTF-8 count as one character each run.
pub fn position(content: &[u8], offset: usize) -> Position {
    let before = &content[..offset.min(content.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Position {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&before[line_start..])
            .chars()
            .count()
            + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let text = "a = 1\nü = 2\r\n".as_bytes();
        let cases = [
            (0, 1, 1),
            (5, 1, 6),
            (6, 2, 1),
            (8, 2, 2),
            (15, 3, 1),
            (99, 3, 1),
        ];
        for (offset, line, column) in cases {
            assert_eq!(
                position(text, offset),
                Position { line, column },
                "{offset}"
            );
        }
        let latin1 = b"caf\xe9 = 1";
        assert_eq!(position(latin1, 5), Position { line: 1, column: 6 });
    }
}
