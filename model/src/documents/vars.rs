// SPDX-License-Identifier: GPL-3.0-or-later
//! `[vars]`: values that fill the templates of layers.

use super::place::At;
use super::table::Table;
use crate::fleet::Var;
use std::collections::BTreeMap;

/// Variables as one document has them.
pub(crate) type VarsDoc = BTreeMap<String, At<Var>>;

/// Reads the variables of a document; those of others are merged when a host or domU is put
/// together.
pub(super) fn vars(document: &Table<'_>) -> VarsDoc {
    document.vars("vars", "variables for *.tmpl files of layers")
}
