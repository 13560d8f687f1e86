// SPDX-License-Identifier: GPL-3.0-or-later
//! The problems of one document, noted while it is read together with those it takes defaults
//! from. Problems of those others are theirs: they are noted when they themselves are read.

use super::syntax::Value;
use super::table::What;
use crate::bad_value::BadValue;
use crate::diagnostic::{Diagnostic, Place};
use crate::show::Origin;
use std::cell::RefCell;
use std::sync::Arc;

/// About as many keys as a document asks for at a time: room for them is made at once.
const MOST_KEYS: usize = 24;

/// Where the problems of one document are noted.
pub(super) struct Notes {
    file: Arc<str>,
    noted: RefCell<Vec<Diagnostic>>,
    /// The keys that were asked for in the table that is being read, behind those of the tables
    /// that it is in.
    asked: RefCell<Vec<&'static str>>,
    /// The settings that were read and where, if somebody wants to know.
    origins: Option<RefCell<Vec<Origin>>>,
}

impl Notes {
    pub(super) fn new(file: &Arc<str>) -> Self {
        Self {
            file: Arc::clone(file),
            noted: RefCell::default(),
            asked: RefCell::new(Vec::with_capacity(MOST_KEYS)),
            origins: None,
        }
    }

    /// The same, which also keeps where each setting came from.
    pub(super) fn tracing(file: &Arc<str>) -> Self {
        Self {
            origins: Some(RefCell::default()),
            ..Self::new(file)
        }
    }

    /// Whether `file` is the document whose problems are noted.
    pub(super) fn is_own(&self, file: &Arc<str>) -> bool {
        Arc::ptr_eq(&self.file, file)
    }

    pub(super) fn note(&self, place: &Place, diagnostic: impl FnOnce() -> Diagnostic) {
        if self.is_own(&place.file) {
            self.noted.borrow_mut().push(diagnostic());
        }
    }

    pub(super) fn error(&self, place: &Place, message: String, help: impl Into<String>) {
        self.note(place, || place.error(message).help(help));
    }

    /// Notes a key that nobody asked for.
    pub(super) fn unknown(&self, place: &Place, message: String, help: String) {
        self.note(place, || place.unknown(message).help(help));
    }

    pub(super) fn warning(&self, place: &Place, message: String, help: &str) {
        self.note(place, || place.warning(message).help(help));
    }

    /// Notes that `what` has a value of a type that it cannot have.
    pub(super) fn wrong_type(&self, place: &Place, what: What<'_>, found: Value<'_>, help: String) {
        let name = found.type_str();
        let article = match name {
            "integer" | "array" => "an",
            _ => "a",
        };
        self.error(place, format!("{what} is {article} {name}"), help);
    }

    pub(super) fn bad_value(&self, place: &Place, bad: BadValue) {
        self.error(place, bad.problem, bad.advice);
    }

    pub(super) fn is_tracing(&self) -> bool {
        self.origins.is_some()
    }

    pub(super) fn trace(&self, origin: impl FnOnce() -> Origin) {
        if let Some(origins) = &self.origins {
            origins.borrow_mut().push(origin());
        }
    }

    /// How many keys were asked for: those of a table that is read from now on come behind.
    pub(super) fn asked(&self) -> usize {
        self.asked.borrow().len()
    }

    pub(super) fn ask(&self, key: &'static str) {
        self.asked.borrow_mut().push(key);
    }

    /// Forgets the keys that were asked for since there were so many, once `read` has seen them.
    pub(super) fn forget_asked(&self, before: usize, read: impl FnOnce(&[&'static str])) {
        let mut asked = self.asked.borrow_mut();
        read(&asked[before..]);
        asked.truncate(before);
    }

    pub(super) fn into_inner(self) -> (Vec<Diagnostic>, Vec<Origin>) {
        let origins = self.origins.map(RefCell::into_inner);
        (self.noted.into_inner(), origins.unwrap_or_default())
    }
}
