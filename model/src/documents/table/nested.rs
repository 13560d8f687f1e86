// SPDX-License-Identifier: GPL-3.0-or-later
//! Tables in tables.

use super::header::{Header, What};
use super::{Found, Layer, Table};
use crate::bad_value::shown;
use crate::diagnostic::Place;
use crate::documents::forms::Form;
use crate::documents::place::At;
use crate::documents::shape::{Describing, Keys, Shape};
use crate::documents::syntax::Value;

impl<'d> Table<'d> {
    /// A table, merged of all layers and taken as empty if none has it; `None` if the first that
    /// has it has something else.
    pub(in crate::documents) fn table<R>(
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
    pub(in crate::documents) fn part<R>(
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
    pub(in crate::documents) fn tables<R>(
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
        let Some(items) = found.value.as_array() else {
            let help = format!("write {header} above each of them");
            self.notes
                .wrong_type(&found.place(), What::Key(key), found.value, help);
            return Vec::new();
        };
        let read = |(index, value): (usize, Value<'d>)| {
            let found = [Found { file, value }];
            let path = match self.notes.is_tracing() || value.as_table().is_none() {
                true => format!("{key}[{index}]"),
                false => String::new(),
            };
            self.read_table(None, &header, &path, &found, true, &read)
        };
        items.enumerate().filter_map(read).collect()
    }

    /// The tables of a table that has names for keys: `[networks.lan]`. Tables of one name are
    /// merged of all layers.
    pub(in crate::documents) fn named_tables<N: Ord, R>(
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
            let Some(entries) = found.value.as_table() else {
                let help = format!("write [{key}.NAME] above each of them");
                self.notes
                    .wrong_type(&found.place(), What::Key(key), found.value, help);
                continue;
            };
            for (text, span, value) in entries.iter() {
                let file = found.file;
                let found = Found { file, value };
                match named.iter_mut().find(|(known, ..)| *known == text) {
                    Some((.., all)) => all.push(found),
                    None => named.push((text, Place::new(file, span), vec![found])),
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
            let is_table = |found: &Found<'_>| found.value.as_table().is_some();
            let path = match self.notes.is_tracing() || !found.iter().all(is_table) {
                true => format!("{key}.{}", shown(text)),
                false => String::new(),
            };
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
        let one;
        let all;
        let layers = match found {
            // Of this there are millions.
            [only] if let Some(layer) = only.layer() => {
                one = [layer];
                &one[..]
            }
            _ => {
                all = self.layers_of(header, key, found)?;
                &all
            }
        };
        let (file, span) = match found.first() {
            // What is missing is missing from the document that is read.
            Some(found) if self.notes.is_own(found.file) => {
                let span = found.value.span();
                (found.file, (span.start, span.end))
            }
            _ => (self.file, self.span),
        };
        let table = Table {
            notes: self.notes,
            path: match self.notes.is_tracing() {
                true => format!("{}{key}.", self.path),
                false => String::new(),
            },
            header: *header,
            file,
            span,
            layers,
            whole,
            asked: self.notes.asked(),
            describing,
        };
        let result = read(&table);
        table.finish();
        Some(result)
    }

    /// The tables among what was found; `None` if the first is none.
    fn layers_of(
        &self,
        header: &Header<'_>,
        key: &str,
        found: &[Found<'d>],
    ) -> Option<Vec<Layer<'d>>> {
        let mut layers = Vec::with_capacity(found.len());
        for (index, found) in found.iter().enumerate() {
            if let Some(layer) = found.layer() {
                layers.push(layer);
                continue;
            }
            let help = format!("write a table: {header} and its keys below");
            self.notes
                .wrong_type(&found.place(), What::Key(key), found.value, help);
            if index == 0 {
                return None;
            }
        }
        Some(layers)
    }

    pub(super) fn below<'h>(&'h self, key: &'h str, is_array: bool) -> Header<'h> {
        let above = Some(&self.header);
        Header {
            above,
            key,
            is_array,
        }
    }
}
