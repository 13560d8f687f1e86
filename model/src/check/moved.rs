// SPDX-License-Identifier: GPL-3.0-or-later
//! Warning: a domU went to another host, and its volumes did not. One tree alone cannot show that;
//! whoever has an earlier one says which did.

use crate::diagnostic::{Diagnostic, Place};

/// A domU that is on another host than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub domu: String,
    /// The host that it was on.
    pub from: String,
    /// The host that it is on.
    pub to: String,
    /// The volumes that it had there.
    pub volumes: Vec<String>,
}

/// Notes those that leave data behind.
pub(crate) fn prove(moved: &[Moved], notes: &mut Vec<Diagnostic>) {
    for Moved {
        domu,
        from,
        to,
        volumes,
    } in moved
    {
        if volumes.is_empty() {
            continue;
        }
        let volumes = volumes.join(", ");
        let place = Place::whole(format!("pservers/{to}/domUs/{domu}.toml"));
        let note = place.warning(format!(
            "{domu} was on {from}, where its data stays: {volumes}"
        ));
        notes.push(note.help(format!(
            "copy that from {from} to {to} before {domu} starts here"
        )));
    }
}
