// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading one table key by key. Each problem is noted and reading goes on, so that a document's
//! problems are all found at once.
//!
//! A table may lie over others, as a domU's document over its host's, its groups' and the fleet's
//! defaults: each key is taken from the first that has it. One reader thus reads, merges, says
//! where each value came from, and describes what there is to say.

mod header;
mod named;
mod nested;
mod vars;

pub(crate) use vars::VarsDoc;

use self::header::Header;
pub(super) use self::header::What;
use super::forms::Form;
use super::notes::Notes;
use super::place::At;
use super::shape::{Describing, Keys, Shape};
use crate::bad_value::{quoted, shown};
use crate::diagnostic::Place;
use crate::distance::meant;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The version of the format of documents.
const FORMAT: u32 = 1;

/// About as many keys as a table may have: room for them is made at once.
const MOST_KEYS: usize = 12;

/// One document's say in a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer<'d> {
    pub(crate) file: &'d Arc<str>,
    pub(crate) entries: &'d DeTable<'d>,
}

/// A value as a layer has it.
#[derive(Clone, Copy)]
struct Found<'d> {
    file: &'d Arc<str>,
    value: &'d Spanned<DeValue<'d>>,
}

impl Found<'_> {
    fn place(&self) -> Place {
        Place::new(self.file, self.value.span())
    }
}

/// A table that is being read. The keys asked for are the keys there are: [`Table::finish`]
/// refuses all others.
pub(super) struct Table<'d> {
    notes: &'d Notes,
    /// What it is called.
    header: Header<'d>,
    /// Where it is for those who trace settings, `machine.`; else empty.
    path: String,
    /// What there is to point at: its header.
    place: Place,
    /// The most specific first; empty if no document has it.
    layers: Vec<Layer<'d>>,
    /// Whether what is missing is missed: not in defaults, which are parts.
    whole: bool,
    asked: RefCell<Vec<&'static str>>,
    describing: Option<&'d Describing>,
}

impl<'d> Table<'d> {
    /// Reads a document, which lies over the tables `below`; `None` if it is of another version
    /// of the format.
    pub(super) fn document<R>(
        notes: &'d Notes,
        own: Layer<'d>,
        below: &[Layer<'d>],
        read: impl FnOnce(&Table<'_>) -> R,
    ) -> Option<R> {
        let mut layers = Vec::with_capacity(1 + below.len());
        layers.push(own);
        layers.extend_from_slice(below);
        let table = Self::new(notes, Place::new(own.file, 0..0), layers);
        if !table.is_of_this_format() {
            return None;
        }
        let result = read(&table);
        table.finish();
        Some(result)
    }

    /// What the reader of a document reads; `whole`: of one that takes nothing from others.
    pub(super) fn describe(whole: bool, read: impl FnOnce(&Table<'_>)) -> Keys {
        let (notes, describing) = (Notes::new(&Arc::from("")), Describing::default());
        let mut table = Table::new(&notes, Place::whole(""), Vec::new());
        table.describing = Some(&describing);
        table.whole = whole;
        table.is_of_this_format();
        read(&table);
        drop(table);
        describing.into_keys()
    }

    fn new(notes: &'d Notes, place: Place, layers: Vec<Layer<'d>>) -> Self {
        let header = Header {
            above: None,
            key: "",
            is_array: false,
        };
        Self {
            notes,
            header,
            path: String::new(),
            place,
            layers,
            whole: true,
            asked: RefCell::new(Vec::with_capacity(MOST_KEYS)),
            describing: None,
        }
    }

    fn is_of_this_format(&self) -> bool {
        let own = self.layers.first().map(|own| own.entries.get("version"));
        if own.is_some_and(|version| version.is_none()) {
            let help = "write version = 1 above all else";
            let message = "`version` is missing".to_owned();
            self.notes.error(&self.place, message, help);
        }
        let about = "format of this document";
        let version = self.number("version", about, 1..=u32::MAX);
        if let Some(describing) = self.describing {
            describing.require("version");
        }
        let Some(At { value, place }) = version.filter(|version| version.value != FORMAT) else {
            return true;
        };
        let message = format!("`version` is {value}: not a format that is known");
        let help = format!("this Domus knows version = {FORMAT}; take a newer one, or write that");
        self.notes.error(&place, message, help);
        false
    }

    pub(super) fn notes(&self) -> &'d Notes {
        self.notes
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether what is missing is missed.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    fn get(&self, key: &'static str) -> Option<Found<'d>> {
        self.asked.borrow_mut().push(key);
        let found = self.layers.iter().find_map(|layer| layer.get(key))?;
        self.notes
            .trace(|| format!("{}{key}", self.path), &found.place());
        Some(found)
    }

    /// What each layer has, and nothing that is traced: the keys of a table below are.
    fn get_all(&self, key: &'static str) -> impl Iterator<Item = Found<'d>> {
        self.asked.borrow_mut().push(key);
        self.layers.iter().filter_map(move |layer| layer.get(key))
    }

    fn add(&self, key: &'static str, about: &'static str, shape: impl FnOnce() -> Shape) {
        if let Some(describing) = self.describing {
            describing.add(key, about, shape());
        }
    }

    /// Whether the key is there, readable or not.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut layers = self.layers.iter();
        layers.any(|layer| layer.entries.contains_key(key))
    }

    /// The same table as the most specific layer has it that has one of `keys`, where these
    /// exclude each other: what it says replaces what others say.
    pub(super) fn alternatives(&self, keys: &[&'static str]) -> Table<'d> {
        self.asked.borrow_mut().extend_from_slice(keys);
        let has = |layer: &&Layer<'d>| keys.iter().any(|key| layer.entries.contains_key(*key));
        let layers: Vec<Layer<'d>> = self.layers.iter().find(has).copied().into_iter().collect();
        Table {
            path: self.path.clone(),
            place: self.place.clone(),
            layers,
            asked: RefCell::default(),
            ..*self
        }
    }

    /// A string of this form, if it is there.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        about: &'static str,
        form: &Form<T>,
    ) -> Option<At<T>> {
        self.add(key, about, || form.shape());
        self.read_string(What::Key(key), self.get(key)?, form)
    }

    /// A string of this form, which must be there.
    pub(super) fn require<T>(
        &self,
        key: &'static str,
        about: &'static str,
        form: &Form<T>,
    ) -> Option<At<T>> {
        let value = self.read(key, about, form);
        self.must_have(key, || format!("write {key} = {:?}", form.example));
        value
    }

    /// Notes that the key is missing, if it is; `help` says what to write.
    pub(super) fn must_have(&self, key: &'static str, help: impl FnOnce() -> String) {
        if !self.whole {
            return;
        }
        if let Some(describing) = self.describing {
            describing.require(key);
        }
        if !self.has(key) {
            let message = format!("`{key}` is missing{}", self.header.place("from"));
            self.notes.error(&self.place, message, help());
        }
    }

    fn read_string<T>(&self, what: What, found: Found<'_>, form: &Form<T>) -> Option<At<T>> {
        let place = found.place();
        let value = found.value.get_ref();
        let Some(text) = value.as_str() else {
            let help = format!("write a string, as {:?}", form.example);
            self.notes.wrong_type(&place, what, value, help);
            return None;
        };
        match (form.parse)(text) {
            Ok(value) => Some(At { value, place }),
            Err(bad) => {
                self.notes.bad_value(&place, bad);
                None
            }
        }
    }

    /// An array of strings of this form, empty if it is not there.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        about: &'static str,
        form: &Form<T>,
    ) -> Vec<At<T>> {
        self.add(key, about, || Shape::List(Box::new(form.shape())));
        let Some(found) = self.get(key) else {
            return Vec::new();
        };
        let file = found.file;
        let DeValue::Array(items) = found.value.get_ref() else {
            let help = format!("write a list, as {key} = [{:?}]", form.example);
            let (place, value) = (found.place(), found.value.get_ref());
            self.notes.wrong_type(&place, What::Key(key), value, help);
            return Vec::new();
        };
        let read = |value| self.read_string(What::ItemOf(key), Found { file, value }, form);
        items.iter().filter_map(read).collect()
    }

    /// A whole number in this range, if it is there.
    pub(super) fn number(
        &self,
        key: &'static str,
        about: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<At<u32>> {
        self.add(key, about, || Shape::Number(range.clone()));
        let found = self.get(key)?;
        let place = found.place();
        let help = || match range.end() {
            &u32::MAX => format!("write a whole number from {}", range.start()),
            end => format!("write a whole number from {} to {end}", range.start()),
        };
        let DeValue::Integer(integer) = found.value.get_ref() else {
            let value = found.value.get_ref();
            self.notes.wrong_type(&place, What::Key(key), value, help());
            return None;
        };
        match u32::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) if range.contains(&value) => Some(At { value, place }),
            _ => {
                let message = format!("`{key}` cannot be {}", shown(&integer.to_string()));
                self.notes.error(&place, message, help());
                None
            }
        }
    }

    /// Refuses the keys of this document that nobody asked for.
    fn finish(self) {
        let Some(own) = self.layers.iter().find(|it| self.notes.is_own(it.file)) else {
            return;
        };
        let asked = self.asked.into_inner();
        for (key, _) in own.entries {
            let text: &str = key.get_ref();
            if asked.contains(&text) {
                continue;
            }
            let place = self.header.place("in");
            let all = asked.join(", ");
            let help = match meant(text, &asked) {
                Some(meant) => format!("did you mean `{meant}`? There are: {all}"),
                None => format!("there are: {all}"),
            };
            let message = format!("unknown key {}{place}", quoted(text));
            let at = Place::new(own.file, key.span());
            self.notes.unknown(&at, message, help);
        }
    }
}

impl<'d> Layer<'d> {
    fn get(&self, key: &str) -> Option<Found<'d>> {
        let value = self.entries.get(key)?;
        let file = self.file;
        Some(Found { file, value })
    }

    /// The table below `key`, if there is one.
    pub(crate) fn below(&self, key: &str) -> Option<Self> {
        let DeValue::Table(entries) = self.entries.get(key)?.get_ref() else {
            return None;
        };
        let file = self.file;
        Some(Self { file, entries })
    }
}
