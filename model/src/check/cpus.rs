// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: no domU, and not dom0, has more virtual CPUs than its host has logical ones. Together they
//! may have more: that is what a scheduler is for.

use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{At, HostDocs};
use std::collections::BTreeMap;

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else {
        return;
    };
    let machine = host.settings.machine.as_ref();
    let Some(there) = machine.and_then(|machine| machine.cpus.as_ref()) else {
        return;
    };
    let dom0 = host.settings.dom0.as_ref();
    let dom0 = dom0.and_then(|dom0| Some(("dom0", dom0.vcpus.as_ref()?)));
    let guests = docs.guests();
    let guests = guests.filter_map(|it| Some((it.name, it.domu.settings.vcpus.as_ref()?)));
    // What many take from one place is said once.
    let mut too_many: BTreeMap<&Place, (u32, Vec<&str>)> = BTreeMap::new();
    for (name, At { value, place }) in dom0.into_iter().chain(guests) {
        if *value > there.value {
            let known = too_many.entry(place).or_insert((*value, Vec::new()));
            known.1.push(name);
        }
    }
    for (place, (vcpus, names)) in too_many {
        let (host, cpus) = (&docs.directory, there.value);
        let note = place
            .error(format!(
                "vcpus = {vcpus} is more than {host} has: cpus = {cpus}"
            ))
            .see(&there.place, "what there is")
            .help(format!(
                "write {cpus} or less: more would only wait for each other. What domUs have \
                 together may be more"
            ));
        notes.push(match names[..] {
            [name] => note.remark(format!("for {name}")),
            [first, ..] => note.remark(format!("for {first} and {} more", names.len() - 1)),
            [] => note,
        });
    }
}
