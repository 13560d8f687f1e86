// SPDX-License-Identifier: GPL-3.0-or-later
//! The problems of one document, noted while it is read together with those it takes defaults
//! from. Problems of those others are theirs: they are noted when they themselves are read.

use super::table::What;
use crate::bad_value::BadValue;
use crate::diagnostic::{Diagnostic, Place};
use crate::show::Origin;
use std::cell::RefCell;
use std::sync::Arc;
use toml::de::DeValue;

/// Where the problems of one document are noted.
pub(super) struct Notes {
    file: Arc<str>,
    noted: RefCell<Vec<Diagnostic>>,
    /// The settings that were read and where, if somebody wants to know.
    origins: Option<RefCell<Vec<Origin>>>,
}

impl Notes {
    pub(super) fn new(file: &Arc<str>) -> Self {
        Self {
            file: Arc::clone(file),
            noted: RefCell::default(),
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
    pub(super) fn wrong_type(
        &self,
        place: &Place,
        what: What<'_>,
        found: &DeValue<'_>,
        help: String,
    ) {
        let article = match found {
            DeValue::Integer(_) | DeValue::Array(_) => "an",
            _ => "a",
        };
        let message = format!("{what} is {article} {}", found.type_str());
        self.error(place, message, help);
    }

    pub(super) fn bad_value(&self, place: &Place, bad: BadValue) {
        self.error(place, bad.problem, bad.advice);
    }

    pub(super) fn is_tracing(&self) -> bool {
        self.origins.is_some()
    }

    pub(super) fn trace(&self, setting: impl FnOnce() -> String, place: &Place) {
        if let Some(origins) = &self.origins {
            origins.borrow_mut().push(Origin {
                setting: setting(),
                place: place.clone(),
            });
        }
    }

    pub(super) fn into_inner(self) -> (Vec<Diagnostic>, Vec<Origin>) {
        let origins = self.origins.map(RefCell::into_inner);
        (self.noted.into_inner(), origins.unwrap_or_default())
    }
}
