//! Proof: the users of an image have names and numbers of their own.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::distinct;
use crate::diagnostic::Diagnostic;
use crate::documents::Documents;

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    for doc in documents.images.values() {
        let users = doc.body.iter().flat_map(|recipe| &recipe.users);
        let names = users.clone().filter_map(|user| user.name.as_ref());
        distinct(&doc.path, names, "two users are called", notes);
        let numbers = users.filter_map(|user| user.uid.as_ref());
        distinct(&doc.path, numbers, "two users have the uid", notes);
    }
}
