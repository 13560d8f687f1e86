// SPDX-License-Identifier: GPL-3.0-or-later
//! Domain configurations of `xl` (format: xl.cfg(5)) as domUs' documents: read, carried over as
//! far as documents go, and everything else named.

mod convert;
mod disk_spec;
mod disks;
mod document;
mod others;
mod parse;
mod tuning;
mod value;
mod vifs;

pub use convert::convert;
pub use parse::parse;
pub use value::Config;

use crate::bad_value::BadValue;
use crate::names::{ImageRef, Name};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The longest configuration that is read, in bytes: those of real domains have a few KiB.
pub const LONGEST: usize = 1 << 20;

/// What an xl configuration does not say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The image that the domU starts from; with none, it is left to the documents above.
    pub image: Option<ImageRef>,
    /// The host's networks by the bridges of old; others have the bridge's name.
    pub networks: BTreeMap<String, Name>,
}

/// A domU's document made from an xl configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The domU's name.
    pub name: Name,
    /// What the document has, in a few words.
    pub summary: String,
    /// The document (TOML).
    pub document: String,
    /// What is not as it was, by line.
    pub notes: Vec<Note>,
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// Its line in the xl configuration, from 1.
    pub line: usize,
    /// The setting: `kernel`.
    pub setting: String,
    /// What became of it.
    pub message: String,
    /// Whether anything of it is in the document.
    #[serde(skip)]
    pub carried: bool,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its line in the xl configuration, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub bad: BadValue,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadValue { problem, advice } = &self.bad;
        write!(f, "{}:{}: {problem}; {advice}", self.line, self.column)
    }
}

impl std::error::Error for Refused {}
