// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: a host has what it promises, and dom0 what it needs to start.

use super::listed;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, FleetDoc, HostDocs, HostSettings, Shared};
use crate::lower;
use crate::units::Size;

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let (Some(fleet), Some((_, host))) = (shared.fleet(), docs.body()) else {
        return;
    };
    prove_ceiling(&host.settings, fleet, notes);
    let machine = host.settings.machine.as_ref();
    let Some(there) = machine.and_then(|machine| machine.memory.as_ref()) else {
        return;
    };
    prove_start(&docs.directory, there, fleet, notes);
    let dom0 = lower::dom0_memory(&host.settings, fleet);
    prove_sum(docs, there, dom0, notes);
}

fn prove_ceiling(host: &HostSettings, fleet: &FleetDoc, notes: &mut Vec<Diagnostic>) {
    let dom0 = host.dom0.as_ref();
    let Some(memory) = dom0.and_then(|dom0| dom0.memory.as_ref()) else {
        return;
    };
    let ceiling = lower::dom0_ceiling(fleet);
    if memory.value > ceiling {
        let message = format!(
            "dom0 cannot have {}: it starts with {ceiling}",
            memory.value
        );
        let help = format!("write {ceiling} or less, or raise [release] dom0-memory in domus.toml");
        notes.push(see_ceiling(memory.place.error(message).help(help), fleet));
    }
}

/// Xen panics where it cannot give dom0 at boot what the release says.
fn prove_start(name: &str, there: &At<Size>, fleet: &FleetDoc, notes: &mut Vec<Diagnostic>) {
    let ceiling = lower::dom0_ceiling(fleet);
    if there.value < ceiling {
        let message = format!("{name} has {} and dom0 starts with {ceiling}", there.value);
        let help = "lower [release] dom0-memory in domus.toml, or give the machine more memory";
        notes.push(see_ceiling(there.place.error(message).help(help), fleet));
    }
}

/// The same with the place where the release says what dom0 starts with, if it does.
fn see_ceiling(note: Diagnostic, fleet: &FleetDoc) -> Diagnostic {
    match &fleet.release.dom0_memory {
        Some(written) => note.see(&written.place, "the release's ceiling"),
        None => note,
    }
}

fn prove_sum(docs: &HostDocs, there: &At<Size>, dom0: Size, notes: &mut Vec<Diagnostic>) {
    let shares = docs
        .guests()
        .map(|guest| (lower::domu_memory(&guest.domu.settings), guest.name));
    let mut shares: Vec<(Size, &str)> = shares.chain([(dom0, "dom0")]).collect();
    let sum = shares.iter().fold(Size::from_kib(0), |sum, (size, _)| {
        sum.saturating_add(*size)
    });
    if sum <= there.value {
        return;
    }
    shares.sort_by(|a, b| b.cmp(a));
    let shares = shares.iter().map(|(size, name)| format!("{name} {size}"));
    let message = format!("{} has {} and promises {sum}", docs.directory, there.value);
    let note = there
        .place
        .error(message)
        .remark("what there is")
        .help(format!("give less, or move a domU: {}", listed(shares)));
    notes.push(note);
}
