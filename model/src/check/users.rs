// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: the users of an image have names and numbers of their own.

use super::distinct;
use crate::diagnostic::Diagnostic;
use crate::documents::Shared;

pub(super) fn prove(shared: &Shared<'_>, notes: &mut Vec<Diagnostic>) {
    for doc in shared.images.values() {
        let users = doc.body.iter().flat_map(|recipe| &recipe.users);
        let names = users.clone().filter_map(|user| user.name.as_ref());
        distinct(names, "two users are called", notes);
        let numbers = users.filter_map(|user| user.uid.as_ref());
        distinct(numbers, "two users have the uid", notes);
    }
}
