// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: a domU's disks have names and places of their own, and no two domUs of a host are given
//! one volume.

use super::distinct;
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::HostDocs;
use crate::fleet::volume_name;
use std::collections::BTreeMap;

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    for guest in docs.guests() {
        let disks = &guest.domu.settings.disks;
        let names = disks.iter().filter_map(|disk| disk.name.as_ref());
        distinct(names, "two disks are called", notes);
        let mounts = disks.iter().filter_map(|disk| disk.mount.as_ref());
        distinct(mounts, "two disks are mounted on", notes);
    }
    prove_volumes(docs, notes);
}

fn prove_volumes(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let mut disks = docs.guests().flat_map(|it| &it.domu.settings.disks);
    if disks.all(|disk| disk.volume.is_none()) {
        // Those that Domus names are one disk's each: see `volume_name`.
        return;
    }
    let mut given: BTreeMap<String, (&str, &Place)> = BTreeMap::new();
    for guest in docs.guests() {
        let disks = guest.domu.settings.disks.iter();
        for disk in disks.filter(|disk| disk.device.is_none() && disk.image.is_none()) {
            let Some(name) = &disk.name else { continue };
            let (volume, place) = match &disk.volume {
                Some(volume) => (volume.value.clone(), &volume.place),
                None => (volume_name(guest.name, &name.value), &name.place),
            };
            let Some((other, first)) = given.get(&volume) else {
                given.insert(volume, (guest.name, place));
                continue;
            };
            // Two disks of one name in one domU are noted as that.
            if *other == guest.name && disk.volume.is_none() {
                continue;
            }
            let message = format!("two disks are kept on one volume, {volume}");
            let note = place
                .error(message)
                .remark(format!("also given to {other}"))
                .see(first, "")
                .help("two file systems on one volume destroy each other: name another");
            notes.push(note);
        }
    }
}
