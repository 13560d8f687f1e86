// SPDX-License-Identifier: GPL-3.0-or-later
//! What a document may hold, as its own reader says: asked with nothing to read, it names its keys.

use std::cell::RefCell;
use std::ops::RangeInclusive;

/// The keys of a table.
pub(crate) type Keys = Vec<Key>;

/// A key of a table.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What it is for, in one line.
    pub(crate) about: &'static str,
    pub(crate) shape: Shape,
    /// Whether it must be there in the document itself; others may come from a group or default.
    pub(crate) required: bool,
}

/// What may stand behind a key.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// A string: an example, and the regular expression that all of its kind match.
    Text {
        example: &'static str,
        pattern: &'static str,
    },
    Number(RangeInclusive<u32>),
    /// true or false.
    Flag,
    List(Box<Shape>),
    /// One, or a list of such.
    OneOrMore(Box<Shape>),
    Table(Keys),
    /// An array of tables.
    Tables(Keys),
    /// A table of tables that have names for keys.
    Named(Box<Shape>, Keys),
    /// A table of strings that have names for keys: the shapes of both.
    NamedTexts(Box<Shape>, Box<Shape>),
    /// A table of variables.
    Vars,
}

/// Where a reader's keys are written down.
#[derive(Debug, Default)]
pub(super) struct Describing(RefCell<Keys>);

impl Describing {
    pub(super) fn add(&self, name: &'static str, about: &'static str, shape: Shape) {
        let mut keys = self.0.borrow_mut();
        // A reader may look twice at a key; the first look describes it.
        if keys.iter().all(|key| key.name != name) {
            keys.push(Key {
                name,
                about,
                shape,
                required: false,
            });
        }
    }

    pub(super) fn require(&self, name: &'static str) {
        let mut keys = self.0.borrow_mut();
        if let Some(key) = keys.iter_mut().find(|key| key.name == name) {
            key.required = true;
        }
    }

    pub(super) fn into_keys(self) -> Keys {
        self.0.into_inner()
    }
}
