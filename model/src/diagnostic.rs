//! `Diagnostic`: a problem in the documents, with the places it concerns.
// SPDX-License-Identifier: GPL-3.0-or-later

use crate::bad_value::BadValue;
use serde::Serialize;
use std::ops::Range;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing may be built from these documents.
    Error,
    /// Works, and is probably not what was meant.
    Warning,
}

/// A problem in the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The places it concerns; at least one, the first of them primary.
    pub labels: Vec<Label>,
    /// What to write instead.
    pub help: Option<String>,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// An error at a place.
    pub fn error(message: impl Into<String>, file: &str, span: Range<usize>) -> Self {
        let label = Label {
            file: file.to_owned(),
            span,
            primary: true,
            text: String::new(),
        };
        Self {
            severity: Severity::Error,
            message: one_line(message.into()),
            labels: vec![label],
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(message: impl Into<String>, file: &str, span: Range<usize>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message, file, span)
        }
    }

    /// The error that a value at a place was refused.
    pub fn bad_value(bad: BadValue, file: &str, span: Range<usize>) -> Self {
        Self::error(bad.problem, file, span).help(bad.advice)
    }

    /// The same with a remark on its primary place.
    #[must_use]
    pub fn remark(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = self.labels.first_mut() {
            label.text = one_line(text.into());
        }
        self
    }

    /// The same with another place that explains it.
    #[must_use]
    pub fn see(mut self, file: &str, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            file: file.to_owned(),
            span,
            primary: false,
            text: one_line(text.into()),
        });
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
