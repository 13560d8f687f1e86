// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: the most that a domU can be given is not less than it has, a cap can be reached, and it
//! is pinned to CPUs that are there.

use super::Guest;
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{At, HostDocs};
use crate::lower;
use std::collections::BTreeSet;

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let host = docs.body();
    let machine = host.and_then(|(_, host)| host.settings.machine.as_ref());
    let cpus = machine.and_then(|machine| machine.cpus.as_ref());
    // What many take from one place is said once.
    let mut said: BTreeSet<Place> = BTreeSet::new();
    for guest in docs.guests() {
        let found = [
            memory(&guest),
            vcpus(&guest),
            cap(&guest),
            pin(&guest, docs, cpus),
        ];
        for (place, note) in found.into_iter().flatten() {
            if said.insert(place) {
                notes.push(note.remark(format!("for {}", guest.name)));
            }
        }
    }
}

/// Where a problem is, and the problem.
type Found = Option<(Place, Diagnostic)>;

fn memory(guest: &Guest<'_>) -> Found {
    let settings = &guest.domu.settings;
    let At { value: most, place } = settings.max_memory.as_ref()?;
    let memory = lower::domu_memory(settings);
    if *most >= memory {
        return None;
    }
    let note = place.error(format!(
        "max-memory = {most} is less than its memory, {memory}"
    ));
    let note = see(note, settings.memory.as_ref());
    let note = note.help(format!("write {memory} or more, or take it out"));
    Some((place.clone(), note))
}

fn vcpus(guest: &Guest<'_>) -> Found {
    let settings = &guest.domu.settings;
    let At { value: most, place } = settings.max_vcpus.as_ref()?;
    let vcpus = lower::domu_vcpus(settings);
    if *most >= vcpus {
        return None;
    }
    let note = place.error(format!(
        "max-vcpus = {most} is less than its vcpus, {vcpus}"
    ));
    let note = see(note, settings.vcpus.as_ref());
    let note = note.help(format!("write {vcpus} or more, or take it out"));
    Some((place.clone(), note))
}

fn cap(guest: &Guest<'_>) -> Found {
    let settings = &guest.domu.settings;
    let At { value: cap, place } = settings.cap.as_ref()?;
    let most = settings.max_vcpus.as_ref().map(|most| most.value);
    let vcpus = most.unwrap_or_else(|| lower::domu_vcpus(settings));
    if *cap <= vcpus * 100 {
        return None;
    }
    let note = place.error(format!(
        "cap = {cap} is more than it can have: {vcpus} CPUs are {}",
        vcpus * 100
    ));
    let help = "write percents of one CPU, as 150 for one and a half, or take it out";
    Some((place.clone(), note.help(help)))
}

fn pin(guest: &Guest<'_>, docs: &HostDocs, cpus: Option<&At<u32>>) -> Found {
    let At { value: pin, place } = guest.domu.settings.pin.as_ref()?;
    let there = cpus?;
    let highest = pin.highest();
    if highest < there.value {
        return None;
    }
    let (host, last) = (&docs.directory, there.value - 1);
    let note = place.error(format!("{host} has no CPU {highest}"));
    let note = note.see(&there.place, "what there is");
    let help = format!("they are counted from 0: write CPUs from 0 to {last}");
    Some((place.clone(), note.help(help)))
}

fn see<T>(note: Diagnostic, written: Option<&At<T>>) -> Diagnostic {
    match written {
        Some(written) => note.see(&written.place, "what it has"),
        None => note,
    }
}
