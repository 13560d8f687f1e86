//! The problems of one document, noted while it is read.
// SPDX-License-Identifier: GPL-3.0-or-later

use crate::bad_value::BadValue;
use crate::diagnostic::Diagnostic;
use std::cell::RefCell;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// Where the problems of one document are noted.
pub(super) struct Notes<'d> {
    file: &'d str,
    noted: RefCell<Vec<Diagnostic>>,
}

impl<'d> Notes<'d> {
    pub(super) fn new(file: &'d str) -> Self {
        let noted = RefCell::default();
        Self { file, noted }
    }

    pub(super) fn error(&self, span: Range<usize>, message: String, help: impl Into<String>) {
        let error = Diagnostic::error(message, self.file, span).help(help);
        self.noted.borrow_mut().push(error);
    }

    pub(super) fn warning(&self, span: Range<usize>, message: String, help: &str) {
        let warning = Diagnostic::warning(message, self.file, span).help(help);
        self.noted.borrow_mut().push(warning);
    }

    /// Notes that `what` has a value of a type that it cannot have.
    pub(super) fn wrong_type(&self, what: &str, value: &Spanned<DeValue<'_>>, help: String) {
        let found = value.get_ref();
        let article = match found {
            DeValue::Integer(_) | DeValue::Array(_) => "an",
            _ => "a",
        };
        let message = format!("{what} is {article} {}", found.type_str());
        self.error(value.span(), message, help);
    }

    pub(super) fn bad_value(&self, span: Range<usize>, bad: BadValue) {
        self.error(span, bad.problem, bad.advice);
    }

    pub(super) fn into_inner(self) -> Vec<Diagnostic> {
        self.noted.into_inner()
    }
}
