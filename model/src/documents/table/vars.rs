// SPDX-License-Identifier: GPL-3.0-or-later
//! `[vars]`: values that fill the templates of layers.

use super::header::What;
use super::{Found, Table};
use crate::bad_value::{quoted, shown};
use crate::diagnostic::Place;
use crate::documents::place::At;
use crate::documents::shape::Shape;
use crate::documents::syntax::Value;
use crate::fleet::Var;
use crate::layers::OWN;
use std::collections::BTreeMap;

/// Variables as one document has them.
pub(crate) type VarsDoc = BTreeMap<String, At<Var>>;

impl Table<'_> {
    /// The variables of this document; those of others are merged when a host or domU is put
    /// together.
    pub(in crate::documents) fn vars(&self) -> VarsDoc {
        let (key, about) = ("vars", "variables for *.tmpl files of layers");
        self.add(key, about, || Shape::Vars);
        let own = |found: &Found<'_>| self.notes.is_own(found.file);
        let Some(found) = self.get_all(key).find(own) else {
            return BTreeMap::new();
        };
        let Some(entries) = found.value.as_table() else {
            let help = format!("write {} and the variables below", self.below(key, false));
            self.notes
                .wrong_type(&found.place(), What::Key(key), found.value, help);
            return BTreeMap::new();
        };
        let mut vars = BTreeMap::new();
        for (text, span, value) in entries.iter() {
            let place = Place::new(found.file, span);
            if text == OWN {
                let help = "templates find there what Domus knows, as {{ domus.name }}";
                let message = format!("the variable {OWN} is taken");
                self.notes.error(&place, message, help);
                continue;
            }
            if !is_identifier(text) {
                let help = "use letters, digits and _, a letter first, as \"ntp_servers\"";
                let message = format!("{} is no name for a variable", quoted(text));
                self.notes.error(&place, message, help);
                continue;
            }
            let place = Place::new(found.file, value.span());
            match var(value) {
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
}

/// Whether a template can name it.
fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value of a variable, or the end of a sentence that begins with the variable.
fn var(value: Value<'_>) -> Result<Var, String> {
    if let Some(text) = value.as_str() {
        return Ok(Var::Text(text.to_owned()));
    }
    if let Some(flag) = value.as_bool() {
        return Ok(Var::Flag(flag));
    }
    if let Some(integer) = value.as_integer() {
        let number = integer.large().map(Var::Number);
        return number.ok_or_else(|| format!("cannot be {}", shown(&integer.to_string())));
    }
    let Some(items) = value.as_array() else {
        return Err(format!("is a {}", value.type_str()));
    };
    let item = |item: Value<'_>| match item.as_array() {
        Some(_) => Err("has a list in a list".to_owned()),
        None => var(item),
    };
    items.map(item).collect::<Result<_, _>>().map(Var::List)
}
