// SPDX-License-Identifier: GPL-3.0-or-later
//! What an xl configuration says, before anything is known of what it means.

use super::Refused;
use crate::bad_value::{BadValue, quoted};

/// An xl configuration as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// In the order of the file; of those with one key the last counts.
    pub(super) settings: Vec<Setting>,
}

/// `key = value`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A value and where it begins, both from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text(String),
    Number(u64),
    List(Vec<Value>),
}

impl Value {
    pub(super) fn refuse(&self, problem: String, advice: impl Into<String>) -> Refused {
        Refused {
            line: self.line,
            column: self.column,
            bad: BadValue::new(problem, advice),
        }
    }
}

impl Setting {
    /// Its string.
    pub(super) fn text(&self) -> Result<&str, Refused> {
        match &self.value.kind {
            Kind::Text(text) => Ok(text.trim()),
            _ => {
                let key = &self.key;
                let problem = format!("{key} is no string");
                Err(self.value.refuse(problem, format!("write {key} = \"...\"")))
            }
        }
    }

    /// Its number; xl takes one in quotes, too.
    pub(super) fn number(&self) -> Result<u64, Refused> {
        let (key, advice) = (&self.key, format!("write {} = 1024", self.key));
        match &self.value.kind {
            Kind::Number(number) => Ok(*number),
            Kind::Text(text) => number(text.trim()).ok_or_else(|| {
                let problem = format!("{key} = {} is no number", quoted(text));
                self.value.refuse(problem, advice)
            }),
            Kind::List(_) => Err(self.value.refuse(format!("{key} is no number"), advice)),
        }
    }

    /// The strings of its list, with their lines.
    pub(super) fn texts(&self) -> Result<Vec<(&Value, &str)>, Refused> {
        let (key, advice) = (&self.key, format!("write {} = [ \"...\" ]", self.key));
        let Kind::List(values) = &self.value.kind else {
            return Err(self.value.refuse(format!("{key} is no list"), advice));
        };
        let text = |value: &'_ Value| match &value.kind {
            Kind::Text(_) => Ok(()),
            _ => Err(value.refuse(format!("{key} has what is no string"), advice.clone())),
        };
        values.iter().try_for_each(text)?;
        let strings = values.iter().filter_map(|value| match &value.kind {
            Kind::Text(text) => Some((value, text.as_str())),
            _ => None,
        });
        Ok(strings.collect())
    }
}

/// A number as C writes it: decimal, octal after `0`, hexadecimal after `0x`.
pub(super) fn number(text: &str) -> Option<u64> {
    // `from_str_radix` takes a sign.
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}
