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
use super::syntax::{Entries, Toml, Value, is_same};
use crate::bad_value::{quoted, shown};
use crate::diagnostic::Place;
use crate::distance::meant;
use crate::show::Origin;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The version of the format of documents.
const FORMAT: u32 = 1;

/// One document's say in a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer<'d> {
    pub(crate) file: &'d Arc<str>,
    pub(crate) entries: Entries<'d>,
}

/// A value as a layer has it.
#[derive(Clone, Copy)]
struct Found<'d> {
    file: &'d Arc<str>,
    value: Value<'d>,
}

impl<'d> Found<'d> {
    fn place(&self) -> Place {
        Place::new(self.file, self.value.span())
    }

    /// The table that it is, if it is one.
    fn layer(&self) -> Option<Layer<'d>> {
        let entries = self.value.as_table()?;
        let file = self.file;
        Some(Layer { file, entries })
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
    /// What there is to point at: its header, in this document.
    file: &'d Arc<str>,
    span: (usize, usize),
    /// The most specific first; empty if no document has it.
    layers: &'d [Layer<'d>],
    /// Whether what is missing is missed: not in defaults, which are parts.
    whole: bool,
    /// How many keys were asked for before, in the tables that it is in.
    asked: usize,
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
        let table = Table::new(notes, own.file, &layers);
        if !table.is_of_this_format() {
            return None;
        }
        let result = read(&table);
        table.finish();
        Some(result)
    }

    /// What the reader of a document reads; `whole`: of one that takes nothing from others.
    pub(super) fn describe(whole: bool, read: impl FnOnce(&Table<'_>)) -> Keys {
        let (file, describing) = (Arc::from(""), Describing::default());
        let notes = Notes::new(&file);
        let mut table = Table::new(&notes, &file, &[]);
        table.describing = Some(&describing);
        table.whole = whole;
        table.is_of_this_format();
        read(&table);
        describing.into_keys()
    }

    fn new(notes: &'d Notes, file: &'d Arc<str>, layers: &'d [Layer<'d>]) -> Self {
        let header = Header {
            above: None,
            key: "",
            is_array: false,
        };
        Self {
            notes,
            header,
            path: String::new(),
            file,
            span: (0, 0),
            layers,
            whole: true,
            asked: notes.asked(),
            describing: None,
        }
    }

    fn is_of_this_format(&self) -> bool {
        let own = self.layers.first().map(|own| own.entries.get("version"));
        if own.is_some_and(|version| version.is_none()) {
            let help = "write version = 1 above all else";
            let message = "`version` is missing".to_owned();
            self.notes.error(&self.place(), message, help);
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

    pub(super) fn place(&self) -> Place {
        let (start, end) = self.span;
        Place::new(self.file, start..end)
    }

    /// Whether what is missing is missed.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    fn get(&self, key: &'static str) -> Option<Found<'d>> {
        self.notes.ask(key);
        let found = self.layers.iter().find_map(|layer| layer.get(key))?;
        self.notes.trace(|| Origin {
            setting: format!("{}{key}", self.path),
            place: found.place(),
        });
        Some(found)
    }

    /// What each layer has, and nothing that is traced: the keys of a table below are.
    fn get_all(&self, key: &'static str) -> impl Iterator<Item = Found<'d>> {
        self.notes.ask(key);
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
        layers.any(|layer| layer.entries.get(key).is_some())
    }

    /// The same table as the most specific layer has it that has one of `keys`, where these
    /// exclude each other: what it says replaces what others say.
    pub(super) fn alternatives(&self, keys: &[&'static str]) -> Table<'d> {
        let has = |layer: &Layer<'d>| keys.iter().any(|key| layer.entries.get(key).is_some());
        let layers = match self.layers.iter().position(has) {
            Some(index) => &self.layers[index..=index],
            None => &[],
        };
        Table {
            path: self.path.clone(),
            layers,
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
            self.notes.error(&self.place(), message, help());
        }
    }

    fn read_string<T>(&self, what: What, found: Found<'_>, form: &Form<T>) -> Option<At<T>> {
        let place = found.place();
        let Some(text) = found.value.as_str() else {
            let help = format!("write a string, as {:?}", form.example);
            self.notes.wrong_type(&place, what, found.value, help);
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
        let Some(items) = found.value.as_array() else {
            let help = format!("write a list, as {key} = [{:?}]", form.example);
            self.notes
                .wrong_type(&found.place(), What::Key(key), found.value, help);
            return Vec::new();
        };
        let read = |value| self.read_string(What::ItemOf(key), Found { file, value }, form);
        items.filter_map(read).collect()
    }

    /// A string of this form, or an array of such; `None` if it is not there, or not all of it can
    /// be read.
    pub(super) fn one_or_more<T>(
        &self,
        key: &'static str,
        about: &'static str,
        form: &Form<T>,
    ) -> Option<Vec<At<T>>> {
        self.add(key, about, || Shape::OneOrMore(Box::new(form.shape())));
        let found = self.get(key)?;
        let Some(items) = found.value.as_array() else {
            let one = self.read_string(What::Key(key), found, form)?;
            return Some(vec![one]);
        };
        let file = found.file;
        let read = |value| self.read_string(What::ItemOf(key), Found { file, value }, form);
        // All are read, so that each problem is noted.
        let items: Vec<Option<At<T>>> = items.map(read).collect();
        items.into_iter().collect()
    }

    /// true or false, if it is there.
    pub(super) fn flag(&self, key: &'static str, about: &'static str) -> Option<At<bool>> {
        self.add(key, about, || Shape::Flag);
        let found = self.get(key)?;
        let place = found.place();
        let Some(value) = found.value.as_bool() else {
            let help = format!("write {key} = true, or false");
            self.notes
                .wrong_type(&place, What::Key(key), found.value, help);
            return None;
        };
        Some(At { value, place })
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
        let Some(integer) = found.value.as_integer() else {
            self.notes
                .wrong_type(&place, What::Key(key), found.value, help());
            return None;
        };
        match integer.small() {
            Some(value) if range.contains(&value) => Some(At { value, place }),
            _ => {
                let message = format!("`{key}` cannot be {}", shown(&integer.to_string()));
                self.notes.error(&place, message, help());
                None
            }
        }
    }

    /// Refuses the keys of this document that nobody asked for.
    fn finish(self) {
        let own = self.layers.iter().find(|it| self.notes.is_own(it.file));
        self.notes.forget_asked(self.asked, |asked| {
            if let Some(own) = own {
                self.refuse_others(own, asked);
            }
        });
    }

    /// Refuses the keys of a document but those `asked` for.
    fn refuse_others(&self, own: &Layer<'_>, asked: &[&'static str]) {
        for (text, span, _) in own.entries.iter() {
            if asked.iter().any(|key| is_same(key, text)) {
                continue;
            }
            let place = self.header.place("in");
            let all = asked.join(", ");
            let help = match meant(text, asked) {
                Some(meant) => format!("did you mean `{meant}`? There are: {all}"),
                None => format!("there are: {all}"),
            };
            let message = format!("unknown key {}{place}", quoted(text));
            let at = Place::new(own.file, span);
            self.notes.unknown(&at, message, help);
        }
    }
}

impl<'d> Layer<'d> {
    /// All that a document says.
    pub(crate) fn of(file: &'d Arc<str>, toml: &'d Toml<'d>) -> Self {
        let entries = toml.root();
        Self { file, entries }
    }

    fn get(&self, key: &str) -> Option<Found<'d>> {
        let value = self.entries.get(key)?;
        let file = self.file;
        Some(Found { file, value })
    }

    /// The table below `key`, if there is one.
    pub(crate) fn below(&self, key: &str) -> Option<Self> {
        let entries = self.entries.get(key)?.as_table()?;
        let file = self.file;
        Some(Self { file, entries })
    }
}
