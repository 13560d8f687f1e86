// SPDX-License-Identifier: GPL-3.0-or-later
//! A document as it can be shown on a terminal.

use domus_model::diagnostic::Label;
use std::ops::Range;

/// The longest line that is shown, in bytes.
const LONGEST_LINE: usize = 400;

/// The text of a document. Every byte is where it is in the document, but what could command the
/// terminal is replaced.
pub(super) struct Source(Option<String>);

impl Source {
    /// The text of this document, if it is text.
    pub(super) fn new(content: &[u8]) -> Self {
        let text = std::str::from_utf8(content).ok();
        let harmless = |char: char| match char {
            '\n' | '\r' | '\t' => char,
            _ if !char.is_control() => char,
            // As many bytes as what they stand for: C0 and DEL have one, C1 has two.
            _ if char.len_utf8() == 1 => '?',
            _ => '¿',
        };
        Self(text.map(|text| text.chars().map(harmless).collect()))
    }

    pub(super) fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The part of a label's first line that it is on; `None` if that cannot be shown.
    pub(super) fn line_part(&self, label: &Label) -> Option<Range<usize>> {
        if label.is_whole_file() {
            return None;
        }
        let text = self.0.as_deref()?;
        let Range { start, end } = label.span;
        let line_start = text.get(..start)?.rfind('\n').map_or(0, |at| at + 1);
        let rest = text.get(start..)?;
        let line_end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
        (line_end - line_start <= LONGEST_LINE).then_some(start..end.min(line_end))
    }
}

/// `text` with control characters escaped.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|char| match char.is_control() {
            true => char.escape_debug().collect::<Vec<_>>(),
            false => vec![char],
        })
        .collect()
}
