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
    let dom0 = dom0.and_then(|dom0| Some(("dom0", "vcpus", dom0.vcpus.as_ref()?)));
    let guests = docs.guests().flat_map(|it| {
        let settings = &it.domu.settings;
        let [now, most] = [&settings.vcpus, &settings.max_vcpus].map(Option::as_ref);
        let now = now.map(|now| (it.name, "vcpus", now));
        now.into_iter()
            .chain(most.map(|most| (it.name, "max-vcpus", most)))
    });
    // What many take from one place is said once.
    let mut too_many: BTreeMap<&Place, (&str, u32, Vec<&str>)> = BTreeMap::new();
    for (name, key, At { value, place }) in dom0.into_iter().chain(guests) {
        if *value > there.value {
            let known = too_many.entry(place).or_insert((key, *value, Vec::new()));
            known.2.push(name);
        }
    }
    for (place, (key, vcpus, names)) in too_many {
        let (host, cpus) = (&docs.directory, there.value);
        let note = place
            .error(format!(
                "{key} = {vcpus} is more than {host} has: cpus = {cpus}"
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
