// SPDX-License-Identifier: GPL-3.0-or-later
//! `locked/VERSION.schema`: what a release can read of documents, as it said itself when it was
//! built. Hosts run releases of different age; what theirs cannot read is proved to be absent.

use super::shape::{Keys, Shape};
use super::syntax::{Entries, Value};
use super::table::Layer;
use crate::bad_value::shown;
use crate::contents::{LISTS, locked};
use crate::diagnostic::{Diagnostic, Place};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

/// The ending of the file.
const ENDING: &str = ".schema";

/// What documents may say, by their kind and key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vocabulary(BTreeMap<String, Table>);

type Table = BTreeMap<String, Form>;

/// What may stand behind a key: [`Shape`] without the words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    /// A string that this regular expression matches.
    Text(String),
    /// From the first to the second.
    Number(u32, u32),
    Flag,
    List(Box<Form>),
    OneOrMore(Box<Form>),
    Table(Table),
    Tables(Table),
    /// Tables by names that this regular expression matches.
    Named(String, Table),
    /// Strings by names: both regular expressions.
    NamedTexts(String, String),
    Vars,
}

impl Vocabulary {
    /// Where that of a release is in the repository.
    pub fn path(release: impl Display) -> String {
        format!("{LISTS}/{release}{ENDING}")
    }

    /// The release whose vocabulary is at `path`.
    pub(crate) fn release_of(path: &str) -> Option<&str> {
        locked(path, ENDING)
    }

    /// That of this Domus.
    pub fn of_this_domus() -> Self {
        let kinds = super::describe().into_iter();
        Self(
            kinds
                .map(|(kind, keys)| (kind.to_owned(), table(&keys)))
                .collect(),
        )
    }

    /// The file.
    pub fn render(&self) -> String {
        // There is nothing in it that JSON does not have.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads the file; `None` if it is none of this Domus, or of one before it.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }

    fn of(&self, kind: &str) -> Option<&Table> {
        self.0.get(kind)
    }
}

fn table(keys: &Keys) -> Table {
    let keys = keys.iter();
    keys.map(|key| (key.name.to_owned(), Form::of(&key.shape)))
        .collect()
}

impl Form {
    fn of(shape: &Shape) -> Self {
        let pattern = |shape: &Shape| match shape {
            Shape::Text { pattern, .. } => (*pattern).to_owned(),
            // Names are texts.
            _ => String::new(),
        };
        match shape {
            Shape::Text { pattern, .. } => Self::Text((*pattern).to_owned()),
            Shape::Number(range) => Self::Number(*range.start(), *range.end()),
            Shape::Flag => Self::Flag,
            Shape::List(item) => Self::List(Box::new(Self::of(item))),
            Shape::OneOrMore(item) => Self::OneOrMore(Box::new(Self::of(item))),
            Shape::Table(keys) => Self::Table(table(keys)),
            Shape::Tables(keys) => Self::Tables(table(keys)),
            Shape::Named(name, keys) => Self::Named(pattern(name), table(keys)),
            Shape::NamedTexts(name, text) => Self::NamedTexts(pattern(name), pattern(text)),
            Shape::Vars => Self::Vars,
        }
    }

    /// Whether a value has this form. What is in tables is not looked at.
    fn takes(&self, value: Value<'_>) -> bool {
        match self {
            Self::Text(pattern) => value.as_str().is_some_and(|text| is_match(pattern, text)),
            Self::Number(least, most) => {
                let number = value.as_integer().and_then(|number| number.small());
                number.is_some_and(|number| (*least..=*most).contains(&number))
            }
            Self::Flag => value.as_bool().is_some(),
            Self::List(item) => value
                .as_array()
                .is_some_and(|mut items| items.all(|value| item.takes(value))),
            Self::OneOrMore(item) => match value.as_array() {
                Some(mut items) => items.all(|value| item.takes(value)),
                None => item.takes(value),
            },
            Self::Tables(_) => value.as_array().is_some(),
            Self::Table(_) | Self::Named(..) | Self::NamedTexts(..) | Self::Vars => {
                value.as_table().is_some()
            }
        }
    }
}

/// An expression that this Domus does not understand matches nothing: it never vouches.
fn is_match(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

/// A release that cannot read all that this Domus can.
#[derive(Debug)]
pub(crate) struct OlderRelease {
    version: String,
    reads: Vocabulary,
    now: Arc<Vocabulary>,
}

impl OlderRelease {
    /// `None` if it reads all that this Domus does.
    pub(super) fn new(version: &str, reads: Vocabulary, now: &Arc<Vocabulary>) -> Option<Self> {
        (reads != **now).then(|| Self {
            version: version.to_owned(),
            reads,
            now: Arc::clone(now),
        })
    }

    /// Notes what it cannot read of a document of this kind, which `whom` takes.
    pub(super) fn prove(
        &self,
        kind: &str,
        document: Layer<'_>,
        whom: &str,
        notes: &mut Vec<Diagnostic>,
    ) {
        let (Some(then), Some(now)) = (self.reads.of(kind), self.now.of(kind)) else {
            return;
        };
        let mut walk = Walk {
            release: self,
            file: document.file,
            whom,
            notes,
        };
        walk.table((then, now), document.entries);
    }
}

/// A walk through a document with both vocabularies.
struct Walk<'w> {
    release: &'w OlderRelease,
    file: &'w Arc<str>,
    whom: &'w str,
    notes: &'w mut Vec<Diagnostic>,
}

impl Walk<'_> {
    fn table(&mut self, (then, now): (&Table, &Table), entries: Entries<'_>) {
        if then == now {
            return;
        }
        for (key, span, value) in entries.iter() {
            match (then.get(key), now.get(key)) {
                (Some(then), Some(now)) => self.value((then, now), key, value),
                (None, Some(_)) => self.unknown(key, &Place::new(self.file, span)),
                // This Domus does not know it either, and has said so.
                (_, None) => {}
            }
        }
    }

    fn value(&mut self, both: (&Form, &Form), key: &str, value: Value<'_>) {
        match both {
            (then, now) if then == now => {}
            (Form::Table(then), Form::Table(now)) => {
                let entries = value.as_table().into_iter();
                entries.for_each(|entries| self.table((then, now), entries));
            }
            (Form::Tables(then), Form::Tables(now)) => {
                let items = value.as_array().into_iter().flatten();
                let tables = items.filter_map(|item| item.as_table());
                tables.for_each(|entries| self.table((then, now), entries));
            }
            (Form::Named(names, then), Form::Named(_, now)) => {
                for (name, span, value) in value.as_table().iter().flat_map(Entries::iter) {
                    if !is_match(names, name) {
                        self.unreadable(name, key, &Place::new(self.file, span));
                    }
                    let entries = value.as_table().into_iter();
                    entries.for_each(|entries| self.table((then, now), entries));
                }
            }
            (Form::NamedTexts(names, texts), Form::NamedTexts(..)) => {
                for (name, span, value) in value.as_table().iter().flat_map(Entries::iter) {
                    let is_text = value.as_str().is_some_and(|text| is_match(texts, text));
                    if !is_match(names, name) || !is_text {
                        self.unreadable(name, key, &Place::new(self.file, span));
                    }
                }
            }
            // Of what is right for nobody its reader speaks.
            (then, now) => {
                if !then.takes(value) && now.takes(value) {
                    let text = value.as_str().unwrap_or(value.type_str());
                    self.unreadable(text, key, &Place::new(self.file, value.span()));
                }
            }
        }
    }

    fn unknown(&mut self, key: &str, place: &Place) {
        let version = &self.release.version;
        let message = format!("release {version} does not know {key:?}: its hosts ignore it");
        let note = place.warning(message).remark(format!("for {}", self.whom));
        let help = "if it matters, build a release of another version and let them run it first";
        self.notes.push(note.help(help));
    }

    fn unreadable(&mut self, text: &str, key: &str, place: &Place) {
        let version = &self.release.version;
        let text = shown(text);
        let message = format!("release {version} cannot read {text} as `{key}`");
        let note = place.error(message).remark(format!("for {}", self.whom));
        let help = "its hosts would refuse this commit and keep the one they run: build a release \
                    of another version and let them run it first";
        self.notes.push(note.help(help));
    }
}

#[cfg(test)]
mod tests;
