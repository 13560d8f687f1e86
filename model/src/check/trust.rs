// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: `trust.toml` is this fleet's, and hosts that know any earlier one can follow to it.

use crate::diagnostic::{Diagnostic, Place};
use crate::documents::Shared;
use std::sync::Arc;

pub(super) fn prove(shared: &Shared<'_>, notes: &mut Vec<Diagnostic>) {
    let Some(signed) = &shared.trust else {
        return;
    };
    let place = Place::whole(Arc::clone(&signed.file));
    let fleet = shared.fleet().and_then(|fleet| fleet.name.as_ref());
    if let Some(fleet) = fleet.filter(|fleet| fleet.value != signed.trust.fleet) {
        let message = format!("this is of the fleet {}", signed.trust.fleet);
        let note = place
            .error(message)
            .see(&fleet.place, "and the fleet is this one");
        notes.push(note.help("`domus keys init` makes one for a new fleet"));
        return;
    }
    let proved = match &signed.chain {
        Ok(chain) => chain.prove().map(drop),
        Err(error) => Err(error.clone()),
    };
    if let Err(error) = proved {
        let help = "hosts refuse this commit; who has one of these keys runs `domus keys sign`";
        notes.push(place.error(error).help(help));
    }
}
