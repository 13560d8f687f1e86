// SPDX-License-Identifier: GPL-3.0-or-later
//! Tables of strings that have names for keys: `"web@7" = "sha256:..."`.

use super::header::What;
use super::{Found, Table};
use crate::bad_value::shown;
use crate::diagnostic::Place;
use crate::documents::forms::Form;
use crate::documents::place::At;
use crate::documents::shape::Shape;

impl Table<'_> {
    /// The strings of a table of this document, empty if it is not there.
    pub(in crate::documents) fn named<N, T>(
        &self,
        key: &'static str,
        about: &'static str,
        names: &Form<N>,
        form: &Form<T>,
    ) -> Vec<(At<N>, At<T>)> {
        let shape = || Shape::NamedTexts(Box::new(names.shape()), Box::new(form.shape()));
        self.add(key, about, shape);
        let Some(found) = self.get(key) else {
            return Vec::new();
        };
        let file = found.file;
        let Some(entries) = found.value.as_table() else {
            let header = self.below(key, false);
            let help = format!("write a table: {header} and its keys below");
            self.notes
                .wrong_type(&found.place(), What::Key(key), found.value, help);
            return Vec::new();
        };
        let mut named = Vec::new();
        for (text, span, value) in entries.iter() {
            let place = Place::new(file, span);
            let read = self.read_string(What::Key(&shown(text)), Found { file, value }, form);
            match (names.parse)(text) {
                Ok(value) => named.extend(read.map(|read| (At { value, place }, read))),
                Err(bad) => self.notes.bad_value(&place, bad),
            }
        }
        named
    }
}
