// SPDX-License-Identifier: GPL-3.0-or-later
//! `At`: a value with the place it was read from.

use crate::diagnostic::Place;

/// A value, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}
