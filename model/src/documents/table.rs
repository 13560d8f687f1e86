//! Reading one TOML table key by key. Each problem is noted and reading goes on, so that a
//! document's problems are all found at once.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::distance::meant;
use super::forms::Form;
use super::notes::Notes;
use crate::bad_value::{quoted, shown};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The version of the format of documents.
const FORMAT: u32 = 1;

/// A value, and the bytes of its document that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A table that is being read. The keys asked for are the keys there are: [`Table::finish`]
/// refuses all others.
pub(super) struct Table<'d> {
    notes: &'d Notes<'d>,
    /// As a document has it, `[machine]`; empty for the document itself.
    name: String,
    /// What there is to point at: its header.
    span: Range<usize>,
    /// `None` if the document does not have it.
    entries: Option<&'d DeTable<'d>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    /// Reads a document by its own table; `None` if it is of another version of the format.
    pub(super) fn document<R>(
        notes: &'d Notes<'d>,
        entries: &'d DeTable<'d>,
        read: impl FnOnce(&Table<'_>) -> R,
    ) -> Option<R> {
        let table = Self::new(notes, String::new(), 0..0, Some(entries));
        table.must_have("version", || "write version = 1 above all else".to_owned());
        if let Some(version) = table.number("version", 1..=u32::MAX)
            && version.value != FORMAT
        {
            let message = format!("`version` is {}: not a format that is known", version.value);
            let help =
                format!("this Domus knows version = {FORMAT}; take a newer one, or write that");
            notes.error(version.span, message, help);
            return None;
        }
        let result = read(&table);
        table.finish();
        Some(result)
    }

    fn new(
        notes: &'d Notes<'d>,
        name: String,
        span: Range<usize>,
        entries: Option<&'d DeTable<'d>>,
    ) -> Self {
        let asked = RefCell::default();
        Self {
            notes,
            name,
            span,
            entries,
            asked,
        }
    }

    pub(super) fn notes(&self) -> &'d Notes<'d> {
        self.notes
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn get(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.borrow_mut().push(key);
        self.entries?.get(key)
    }

    /// Whether the key is there, readable or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(key))
    }

    /// A string of this form, if it is there.
    pub(super) fn read<T>(&self, key: &'static str, form: &Form<T>) -> Option<At<T>> {
        self.read_string(&format!("`{key}`"), self.get(key)?, form)
    }

    /// A string of this form, which must be there.
    pub(super) fn require<T>(&self, key: &'static str, form: &Form<T>) -> Option<At<T>> {
        self.must_have(key, || format!("write {key} = {:?}", form.example));
        self.read(key, form)
    }

    /// Notes that the key is missing, if it is; `help` says what to write.
    pub(super) fn must_have(&self, key: &'static str, help: impl FnOnce() -> String) {
        if !self.has(key) {
            let place = match self.name.as_str() {
                "" => String::new(),
                name => format!(" from {name}"),
            };
            let message = format!("`{key}` is missing{place}");
            self.notes.error(self.span(), message, help());
        }
    }

    fn read_string<T>(
        &self,
        what: &str,
        value: &Spanned<DeValue<'_>>,
        form: &Form<T>,
    ) -> Option<At<T>> {
        let span = value.span();
        let Some(text) = value.get_ref().as_str() else {
            let help = format!("write a string, as {:?}", form.example);
            self.notes.wrong_type(what, value, help);
            return None;
        };
        match (form.parse)(text) {
            Ok(value) => Some(At { value, span }),
            Err(bad) => {
                self.notes.bad_value(span, bad);
                None
            }
        }
    }

    /// An array of strings of this form, empty if it is not there.
    pub(super) fn list<T>(&self, key: &'static str, form: &Form<T>) -> Vec<At<T>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            let help = format!("write a list, as {key} = [{:?}]", form.example);
            self.notes.wrong_type(&format!("`{key}`"), value, help);
            return Vec::new();
        };
        let item = format!("an item of `{key}`");
        let read = |value| self.read_string(&item, value, form);
        items.iter().filter_map(read).collect()
    }

    /// A whole number in this range, if it is there.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<At<u32>> {
        let value = self.get(key)?;
        let span = value.span();
        let help = || match range.end() {
            &u32::MAX => format!("write a whole number from {}", range.start()),
            end => format!("write a whole number from {} to {end}", range.start()),
        };
        let DeValue::Integer(integer) = value.get_ref() else {
            self.notes.wrong_type(&format!("`{key}`"), value, help());
            return None;
        };
        match u32::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) if range.contains(&value) => Some(At { value, span }),
            _ => {
                let message = format!("`{key}` cannot be {}", shown(&integer.to_string()));
                self.notes.error(span, message, help());
                None
            }
        }
    }

    /// A table, taken as empty if it is not there; `None` if something else is there.
    pub(super) fn table<R>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Table<'_>) -> R,
    ) -> Option<R> {
        let name = self.name_of(key);
        match self.get(key) {
            None => Some(read(&Table::new(self.notes, name, self.span(), None))),
            Some(value) => self.read_table(name, key, value, read),
        }
    }

    /// The tables of an array of tables, empty if it is not there.
    pub(super) fn tables<R>(&self, key: &'static str, read: impl Fn(&Table<'_>) -> R) -> Vec<R> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let name = format!("[{}]", self.name_of(key));
        let DeValue::Array(items) = value.get_ref() else {
            let help = format!("write {name} above each of them");
            self.notes.wrong_type(&format!("`{key}`"), value, help);
            return Vec::new();
        };
        let read = |value| self.read_table(name.clone(), key, value, &read);
        items.iter().filter_map(read).collect()
    }

    /// The tables of a table that has names for keys: `[networks.lan]`.
    pub(super) fn named_tables<N, R>(
        &self,
        key: &'static str,
        form: &Form<N>,
        read: impl Fn(&Table<'_>) -> R,
    ) -> Vec<(At<N>, R)> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Table(entries) = value.get_ref() else {
            let help = format!("write [{key}.NAME] above each of them");
            self.notes.wrong_type(&format!("`{key}`"), value, help);
            return Vec::new();
        };
        let read = |(name, value): (&'d Spanned<Cow<'d, str>>, &'d Spanned<DeValue<'d>>)| {
            let text: &str = name.get_ref();
            let shown = shown(text);
            let header = self.name_of(&format!("{key}.{shown}"));
            let table = self.read_table(header, &shown, value, &read);
            match (form.parse)(text) {
                Ok(value) => {
                    let span = name.span();
                    Some((At { value, span }, table?))
                }
                Err(bad) => {
                    self.notes.bad_value(name.span(), bad);
                    None
                }
            }
        };
        entries.iter().filter_map(read).collect()
    }

    fn read_table<R>(
        &self,
        name: String,
        key: &str,
        value: &'d Spanned<DeValue<'d>>,
        read: impl FnOnce(&Table<'_>) -> R,
    ) -> Option<R> {
        let DeValue::Table(entries) = value.get_ref() else {
            let help = format!("write a table: {name} and its keys below");
            self.notes.wrong_type(&format!("`{key}`"), value, help);
            return None;
        };
        let table = Table::new(self.notes, name, value.span(), Some(entries));
        let result = read(&table);
        table.finish();
        Some(result)
    }

    fn name_of(&self, key: &str) -> String {
        match self.name.trim_matches(['[', ']']) {
            "" => format!("[{key}]"),
            name => format!("[{name}.{key}]"),
        }
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        let place = match self.name.as_str() {
            "" => String::new(),
            name => format!(" in {name}"),
        };
        for (key, _) in self.entries.into_iter().flatten() {
            let text: &str = key.get_ref();
            if asked.contains(&text) {
                continue;
            }
            let all = asked.join(", ");
            let help = match meant(text, &asked) {
                Some(meant) => format!("did you mean `{meant}`? There are: {all}"),
                None => format!("there are: {all}"),
            };
            let message = format!("unknown key {}{place}", quoted(text));
            self.notes.error(key.span(), message, help);
        }
    }
}
