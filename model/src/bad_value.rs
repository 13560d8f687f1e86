// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a value was refused: what is wrong with it, and what to write instead.

use std::fmt;

/// A value that could not be read. The two halves are kept apart, because a located diagnostic
/// shows the problem at the value and the advice below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// What is wrong, quoting the value: `"256MBB" is no size`.
    pub problem: String,
    /// What to write instead: `write a number and KiB, MiB, GiB or TiB, as "256MiB"`.
    pub advice: String,
}

impl BadValue {
    /// A refusal with its advice.
    pub fn new(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem, self.advice)
    }
}

impl std::error::Error for BadValue {}

/// `value` in quotes, control characters escaped and long ones cut, fit for one line of a terminal.
pub(crate) fn quoted(value: &str) -> String {
    format!("\"{}\"", shown(value))
}

/// As [`quoted`], without the quotes.
pub(crate) fn shown(value: &str) -> String {
    const LONGEST: usize = 64;
    let mut short: String = value.chars().take(LONGEST).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}

/// Implements serde by way of `Display` and `FromStr`: the value is a string in every document.
macro_rules! serde_as_string {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_string;
