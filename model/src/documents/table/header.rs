// SPDX-License-Identifier: GPL-3.0-or-later
//! What tables and values are called in the words of a problem.

use crate::bad_value::{quoted, shown};
use std::fmt;

/// What a value stands for, in the words of a problem.
#[derive(Clone, Copy)]
pub(in crate::documents) enum What<'k> {
    Key(&'k str),
    ItemOf(&'k str),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "`{key}`"),
            Self::ItemOf(key) => write!(f, "an item of `{key}`"),
        }
    }
}

/// What a table is called in its document; put together only where a problem is told.
#[derive(Clone, Copy)]
pub(super) struct Header<'h> {
    pub(super) above: Option<&'h Header<'h>>,
    pub(super) key: &'h str,
    pub(super) is_array: bool,
}

impl Header<'_> {
    /// The keys that lead here, `machine` or `networks.lan`.
    fn path(&self) -> String {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let own = match self.key.chars().all(is_bare) {
            true => shown(self.key),
            false => quoted(self.key),
        };
        match self.above.map(Header::path).as_deref() {
            None | Some("") => own,
            Some(above) => format!("{above}.{own}"),
        }
    }

    /// The end of a sentence about the table: ` in [machine]`, nothing for a document.
    pub(super) fn place(&self, word: &str) -> String {
        match self.above {
            None => String::new(),
            Some(_) => format!(" {word} {self}"),
        }
    }
}

impl fmt::Display for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_array {
            true => write!(f, "[[{}]]", self.path()),
            false => write!(f, "[{}]", self.path()),
        }
    }
}
