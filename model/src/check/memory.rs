//! Proof: everyone has memory to run in, and a host has what it promises.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::{hosts, listed};
use crate::diagnostic::Diagnostic;
use crate::documents::{At, Defaults, Documents, FleetDoc, HostDoc, HostDocs};
use crate::lower;
use crate::units::Size;

/// The least memory in which Debian's kernel starts: with 64 MiB Xen refuses to build the domain
/// ("segment kernel too large"), with 96 MiB it starts as PV and PVH.
const LEAST: Size = Size::from_mib(96);

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    let fleet = documents.fleet.as_ref().and_then(|doc| doc.body.as_ref());
    prove_amounts(documents, fleet, notes);
    let Some(fleet) = fleet else {
        return;
    };
    for (name, docs) in &documents.hosts {
        prove_ceiling(docs, fleet, notes);
        prove_start(name, docs, fleet, notes);
        prove_sum(name, docs, fleet, notes);
    }
}

/// Each amount by itself.
fn prove_amounts(documents: &Documents, fleet: Option<&FleetDoc>, notes: &mut Vec<Diagnostic>) {
    let mut amounts: Vec<(&str, Option<&At<Size>>)> = Vec::new();
    if let Some(fleet) = fleet {
        let release = fleet.release.as_ref();
        amounts.push(("domus.toml", release.and_then(|it| it.dom0_memory.as_ref())));
        amounts.push(("domus.toml", fleet.defaults.memory.as_ref()));
    }
    for (_, doc, host) in hosts(documents) {
        let dom0 = host.dom0.as_ref();
        amounts.push((&doc.path, dom0.and_then(|dom0| dom0.memory.as_ref())));
    }
    for guest in super::guests(documents) {
        amounts.push((guest.path, guest.domu.memory.as_ref()));
    }
    for (path, amount) in amounts {
        let Some(At { value, span }) = amount else {
            continue;
        };
        let error = |message: String| Diagnostic::error(message, path, span.clone());
        if *value < LEAST {
            let message = format!("{value} is too little memory for Debian's kernel");
            notes.push(error(message).help(format!("write {LEAST} or more")));
        } else if !value.is_whole_mib() {
            let more = Size::from_mib(value.mib().saturating_add(1));
            let message = format!("{value} is no whole number of MiB");
            notes.push(error(message).help(format!("write \"{more}\"")));
        }
    }
}

fn prove_ceiling(docs: &HostDocs, fleet: &FleetDoc, notes: &mut Vec<Diagnostic>) {
    let host = docs.host.as_ref();
    let dom0 = host.and_then(|doc| Some((&doc.path, doc.body.as_ref()?.dom0.as_ref()?)));
    let Some((path, memory)) = dom0.and_then(|(path, dom0)| Some((path, dom0.memory.as_ref()?)))
    else {
        return;
    };
    let ceiling = lower::dom0_ceiling(fleet);
    if memory.value > ceiling {
        let message = format!(
            "dom0 cannot have {}: it starts with {ceiling}",
            memory.value
        );
        let help = format!("write {ceiling} or less, or raise [release] dom0-memory in domus.toml");
        let note = Diagnostic::error(message, path, memory.span.clone()).help(help);
        notes.push(see_ceiling(note, fleet));
    }
}

/// Xen panics where it cannot give dom0 at boot what the release says.
fn prove_start(name: &str, docs: &HostDocs, fleet: &FleetDoc, notes: &mut Vec<Diagnostic>) {
    let machine = |doc: &HostDoc| doc.machine.as_ref()?.memory.clone();
    let host = docs.host.as_ref();
    let Some((path, there)) = host.and_then(|doc| Some((&doc.path, machine(doc.body.as_ref()?)?)))
    else {
        return;
    };
    let ceiling = lower::dom0_ceiling(fleet);
    if there.value < ceiling {
        let message = format!("{name} has {} and dom0 starts with {ceiling}", there.value);
        let note = Diagnostic::error(message, path, there.span)
            .help("lower [release] dom0-memory in domus.toml, or give the machine more memory");
        notes.push(see_ceiling(note, fleet));
    }
}

/// The same with the place where the release says what dom0 starts with, if it does.
fn see_ceiling(note: Diagnostic, fleet: &FleetDoc) -> Diagnostic {
    let release = fleet.release.as_ref();
    match release.and_then(|release| release.dom0_memory.as_ref()) {
        Some(written) => note.see("domus.toml", written.span.clone(), "the release's ceiling"),
        None => note,
    }
}

fn prove_sum(name: &str, docs: &HostDocs, fleet: &FleetDoc, notes: &mut Vec<Diagnostic>) {
    let Some((doc, host)) = docs
        .host
        .as_ref()
        .and_then(|doc| Some((doc, doc.body.as_ref()?)))
    else {
        return;
    };
    let machine = host.machine.as_ref();
    let Some(there) = machine.and_then(|machine| machine.memory.as_ref()) else {
        return;
    };
    let dom0 = lower::dom0_memory(host.dom0.as_ref(), fleet);
    let mut shares: Vec<(Size, &str)> = guest_shares(docs, &fleet.defaults);
    shares.push((dom0, "dom0"));
    let sum = shares.iter().fold(Size::from_kib(0), |sum, (size, _)| {
        sum.saturating_add(*size)
    });
    if sum <= there.value {
        return;
    }
    shares.sort_by(|a, b| b.cmp(a));
    let shares = shares.iter().map(|(size, name)| format!("{name} {size}"));
    let message = format!("{name} has {} and promises {sum}", there.value);
    let note = Diagnostic::error(message, &doc.path, there.span.clone())
        .remark("what there is")
        .help(format!("give less, or move a domU: {}", listed(shares)));
    notes.push(note);
}

fn guest_shares<'d>(docs: &'d HostDocs, defaults: &Defaults) -> Vec<(Size, &'d str)> {
    let share = |(name, doc): (&'d String, &'d crate::documents::Doc<_>)| {
        let domu = doc.body.as_ref()?;
        Some((lower::domu_memory(domu, defaults), name.as_str()))
    };
    docs.domus.iter().filter_map(share).collect()
}
