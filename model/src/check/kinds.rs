// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: a release runs the kinds of domUs that it has to, and PCI devices are given to those that
//! can have them, each to one.

use super::Guest;
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{At, HostDocs, Shared};
use crate::fleet::{DomU, Kind};
use crate::lower;
use crate::units::PciDevice;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    prove_hvm(shared, docs, notes);
    let mut given: BTreeMap<PciDevice, (&str, &Place)> = BTreeMap::new();
    for guest in docs.guests() {
        let pci = &guest.domu.settings.pci;
        let Some(first) = pci.first() else { continue };
        notes.extend(refusal(&guest, first));
        for At { value, place } in pci {
            let Some((other, there)) = given.get(value) else {
                given.insert(*value, (guest.name, place));
                continue;
            };
            let note = place.error(format!("{value} is given twice"));
            let note = note.remark(format!("also to {other}")).see(there, "");
            notes.push(note.help("give it to one domU"));
        }
    }
}

/// Of a fleet whose release has no QEMU, no domU is an hvm.
fn prove_hvm(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    if shared.fleet().is_none_or(lower::runs_hvm) {
        return;
    }
    // What many take from one place is said once.
    let mut said: BTreeSet<&Place> = BTreeSet::new();
    for guest in docs.guests() {
        let kind = guest.domu.settings.kind.as_ref();
        let Some(At { place, .. }) = kind.filter(|kind| kind.value == Kind::Hvm) else {
            continue;
        };
        if said.insert(place) {
            let note = place.error("the fleet's release runs no domUs of kind hvm".to_owned());
            let note = note.remark(format!("for {}", guest.name));
            notes.push(note.help(
                "write hvm = true in [release] of domus.toml and build a new release, or take \
                 kind = \"pvh\"",
            ));
        }
    }
}

/// Why a domU cannot be given devices of its host, of which `first` is one.
fn refusal(guest: &Guest<'_>, first: &At<PciDevice>) -> Option<Diagnostic> {
    let settings = &guest.domu.settings;
    let plain = Kind::Pvh;
    let kind = settings.kind.as_ref().map_or(plain, |kind| kind.value);
    let balloons = settings.max_memory.as_ref().is_some_and(|most| {
        most.value > settings.memory.as_ref().map_or(DomU::MEMORY, |it| it.value)
    });
    let (message, help) = if kind == Kind::Pvh {
        (
            "a domU of kind pvh can be given no PCI device",
            "write kind = \"pv\", or \"hvm\"",
        )
    } else if let Some(elsewhere) = settings.may_run_on.first() {
        let note = first
            .place
            .error("a device does not go with a domU to another host".to_owned());
        let note = note.remark(format!("for {}", guest.name));
        let note = note.see(&elsewhere.place, "where it may run");
        return Some(note.help("take `may-run-on` out, or `pci`"));
    } else if kind == Kind::Hvm && balloons {
        (
            "an hvm that has less memory than it can be given can have no PCI device",
            "take `max-memory` out: its pages would come when it first uses them, and devices \
             cannot wait for that",
        )
    } else {
        return None;
    };
    let note = first.place.error(message.to_owned());
    Some(note.remark(format!("for {}", guest.name)).help(help))
}
