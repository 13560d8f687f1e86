// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading one table key by key. Each problem is noted and reading goes on, so that a document's
//! problems are all found at once.
//!
//! A table may lie over others, as a domU's document over its host's, its groups' and the fleet's
//! defaults: each key is taken from the first that has it. One reader thus reads, merges, says
//! where each value came from, and describes what there is to say.

use super::forms::Form;
use super::notes::Notes;
use super::place::At;
use super::shape::{Describing, Keys, Shape};
use crate::bad_value::{quoted, shown};
use crate::diagnostic::Place;
use crate::distance::meant;
use crate::fleet::Var;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
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

/// What a value stands for, in the words of a problem.
#[derive(Clone, Copy)]
pub(super) enum What<'k> {
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
struct Header<'h> {
    above: Option<&'h Header<'h>>,
    key: &'h str,
    is_array: bool,
}

impl Header<'_> {
    /// The keys that lead here, `machine` or `networks.lan`.
    fn path(&self) -> String {
        let own = shown(self.key);
        match self.above.map(Header::path).as_deref() {
            None | Some("") => own,
            Some(above) => format!("{above}.{own}"),
        }
    }

    /// The end of a sentence about the table: ` in [machine]`, nothing for a document.
    fn place(&self, word: &str) -> String {
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

    /// A table, merged of all layers and taken as empty if none has it; `None` if the first that
    /// has it has something else.
    pub(super) fn table<R>(
        &self,
        key: &'static str,
        about: &'static str,
        read: impl FnOnce(&Table<'_>) -> R,
    ) -> Option<R> {
        let found: Vec<Found<'d>> = self.get_all(key).collect();
        let (header, whole) = (self.below(key, false), self.whole);
        self.describe_table(key, about, Shape::Table, |table| {
            self.read_table(table, &header, key, &found, whole, read)
        })
    }

    /// A part of defaults: only what this document has, and nothing missing is missed.
    pub(super) fn part<R>(
        &self,
        key: &'static str,
        about: &'static str,
        read: impl FnOnce(&Table<'_>) -> R,
    ) -> Option<R> {
        let found: Vec<Found<'d>> = self
            .get_all(key)
            .filter(|found| self.notes.is_own(found.file))
            .collect();
        let header = self.below(key, false);
        self.describe_table(key, about, Shape::Table, |table| {
            self.read_table(table, &header, key, &found, false, read)
        })
    }

    /// The tables of an array of tables, empty if it is not there.
    pub(super) fn tables<R>(
        &self,
        key: &'static str,
        about: &'static str,
        read: impl Fn(&Table<'_>) -> R,
    ) -> Vec<R> {
        let header = self.below(key, true);
        if self.describing.is_some() {
            self.describe_table(key, about, Shape::Tables, |describing| {
                self.read_table(describing, &header, key, &[], true, &read)
            });
            return Vec::new();
        }
        let Some(found) = self.get(key) else {
            return Vec::new();
        };
        let file = found.file;
        let DeValue::Array(items) = found.value.get_ref() else {
            let help = format!("write {header} above each of them");
            let (place, value) = (found.place(), found.value.get_ref());
            self.notes.wrong_type(&place, What::Key(key), value, help);
            return Vec::new();
        };
        let read = |(index, value)| {
            let found = [Found { file, value }];
            let path = match self.notes.is_tracing() || !value.get_ref().is_table() {
                true => format!("{key}[{index}]"),
                false => String::new(),
            };
            self.read_table(None, &header, &path, &found, true, &read)
        };
        items.iter().enumerate().filter_map(read).collect()
    }

    /// The tables of a table that has names for keys: `[networks.lan]`. Tables of one name are
    /// merged of all layers.
    pub(super) fn named_tables<N: Ord, R>(
        &self,
        key: &'static str,
        about: &'static str,
        form: &Form<N>,
        read: impl Fn(&Table<'_>) -> R,
    ) -> Vec<(At<N>, R)> {
        let whole = self.whole;
        if self.describing.is_some() {
            let shape = |keys| Shape::Named(Box::new(form.shape()), keys);
            self.describe_table(key, about, shape, |describing| {
                self.read_table(describing, &self.below(key, false), key, &[], whole, &read)
            });
            return Vec::new();
        }
        let mut named: Vec<(&'d str, Place, Vec<Found<'d>>)> = Vec::new();
        for found in self.get_all(key) {
            let DeValue::Table(entries) = found.value.get_ref() else {
                let help = format!("write [{key}.NAME] above each of them");
                let (place, value) = (found.place(), found.value.get_ref());
                self.notes.wrong_type(&place, What::Key(key), value, help);
                continue;
            };
            for (name, value) in entries {
                let text: &'d str = name.get_ref();
                let file = found.file;
                let found = Found { file, value };
                match named.iter_mut().find(|(known, ..)| *known == text) {
                    Some((.., all)) => all.push(found),
                    None => named.push((text, Place::new(file, name.span()), vec![found])),
                }
            }
        }
        // A name that is none is noted where it is written; its table is read for its problems.
        let read = |(text, place, found): (&str, Place, Vec<Found<'d>>)| {
            let above = self.below(key, false);
            let header = Header {
                above: Some(&above),
                key: text,
                is_array: false,
            };
            let path = format!("{key}.{}", shown(text));
            let table = self.read_table(None, &header, &path, &found, whole, &read);
            match (form.parse)(text) {
                Ok(value) => Some((At { value, place }, table?)),
                Err(bad) => {
                    self.notes.bad_value(&place, bad);
                    None
                }
            }
        };
        let mut read: Vec<(At<N>, R)> = named.into_iter().filter_map(read).collect();
        read.sort_by(|(a, _), (b, _)| a.value.cmp(&b.value));
        read
    }

    /// The variables of this document.
    pub(super) fn vars(&self, key: &'static str, about: &'static str) -> BTreeMap<String, At<Var>> {
        self.add(key, about, || Shape::Vars);
        let own = |found: &Found<'_>| self.notes.is_own(found.file);
        let Some(found) = self.get_all(key).find(own) else {
            return BTreeMap::new();
        };
        let DeValue::Table(entries) = found.value.get_ref() else {
            let help = format!("write {} and the variables below", self.below(key, false));
            let (place, value) = (found.place(), found.value.get_ref());
            self.notes.wrong_type(&place, What::Key(key), value, help);
            return BTreeMap::new();
        };
        let mut vars = BTreeMap::new();
        for (name, value) in entries {
            let place = Place::new(found.file, name.span());
            let text: &str = name.get_ref();
            if !is_identifier(text) {
                let help = "use letters, digits and _, a letter first, as \"ntp_servers\"";
                let message = format!("{} is no name for a variable", quoted(text));
                self.notes.error(&place, message, help);
                continue;
            }
            let place = Place::new(found.file, value.span());
            match var(value.get_ref()) {
                Ok(value) => drop(vars.insert(text.to_owned(), At { value, place })),
                Err(problem) => {
                    let help = "write a string, a whole number, true, false, or a list of such";
                    let message = format!("the variable {text} {problem}");
                    self.notes.error(&place, message, help);
                }
            }
        }
        vars
    }

    /// Runs `read` with somebody to describe the table below `key` to, if this one is described.
    fn describe_table<R>(
        &self,
        key: &'static str,
        about: &'static str,
        shape: impl FnOnce(Keys) -> Shape,
        read: impl FnOnce(Option<&Describing>) -> R,
    ) -> R {
        let Some(describing) = self.describing else {
            return read(None);
        };
        let below = Describing::default();
        let result = read(Some(&below));
        describing.add(key, about, shape(below.into_keys()));
        result
    }

    fn read_table<R>(
        &self,
        describing: Option<&Describing>,
        header: &Header<'_>,
        key: &str,
        found: &[Found<'d>],
        whole: bool,
        read: impl FnOnce(&Table<'_>) -> R,
    ) -> Option<R> {
        let mut layers = Vec::with_capacity(found.len());
        for (index, found) in found.iter().enumerate() {
            let Found { file, value } = *found;
            match value.get_ref() {
                DeValue::Table(entries) => layers.push(Layer { file, entries }),
                other => {
                    let help = format!("write a table: {header} and its keys below");
                    self.notes
                        .wrong_type(&found.place(), What::Key(key), other, help);
                    if index == 0 {
                        return None;
                    }
                }
            }
        }
        let place = match found.first() {
            // What is missing is missing from the document that is read.
            Some(found) if self.notes.is_own(found.file) => found.place(),
            _ => self.place.clone(),
        };
        let table = Table {
            notes: self.notes,
            path: match self.notes.is_tracing() {
                true => format!("{}{key}.", self.path),
                false => String::new(),
            },
            header: *header,
            place,
            layers,
            whole,
            asked: RefCell::new(Vec::with_capacity(MOST_KEYS)),
            describing,
        };
        let result = read(&table);
        table.finish();
        Some(result)
    }

    fn below<'h>(&'h self, key: &'h str, is_array: bool) -> Header<'h> {
        let above = Some(&self.header);
        Header {
            above,
            key,
            is_array,
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
            self.notes.error(&at, message, help);
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

/// Whether a template can name it.
fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value of a variable, or the end of a sentence that begins with the variable.
fn var(value: &DeValue<'_>) -> Result<Var, String> {
    match value {
        DeValue::String(text) => Ok(Var::Text(text.to_string())),
        DeValue::Boolean(flag) => Ok(Var::Flag(*flag)),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Var::Number)
            .map_err(|_| format!("cannot be {}", shown(&integer.to_string()))),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| match item.get_ref() {
                DeValue::Array(_) => Err("has a list in a list".to_owned()),
                item => var(item),
            });
            items.collect::<Result<_, _>>().map(Var::List)
        }
        other => Err(format!("is a {}", other.type_str())),
    }
}
