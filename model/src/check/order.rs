//! Proof: whom a domU waits for is there, and nobody waits for himself.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::listed;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, Documents, HostDocs};
use crate::names::Name;
use std::collections::BTreeMap;

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    for (host, docs) in &documents.hosts {
        for (own, doc) in &docs.domus {
            let after = doc.body.iter().flat_map(|domu| &domu.after);
            for name in after.filter(|name| !docs.domus.contains_key(name.value.as_str())) {
                let message = format!("there is no domU {} on {host}", name.value);
                let note = Diagnostic::error(message, &doc.path, name.span.clone());
                notes.push(note.help(advice(documents, docs, own, name.value.as_str())));
            }
        }
        prove_acyclic(docs, notes);
    }
}

/// What to write instead of `wanted`, for which `own` waits in vain.
fn advice(documents: &Documents, docs: &HostDocs, own: &str, wanted: &str) -> String {
    let mut hosts = documents.hosts.iter();
    if let Some((other, _)) = hosts.find(|(_, docs)| docs.domus.contains_key(wanted)) {
        return format!("{wanted} runs on {other}; each host starts its own domUs only");
    }
    let others = docs.domus.keys().filter(|other| *other != own);
    match listed(others).as_str() {
        "" => "take it out: there is no other domU on this host".to_owned(),
        others => format!("there are: {others}"),
    }
}

/// For each domU, whom it waits for among those of its host.
type Waits<'d> = BTreeMap<&'d str, Vec<(&'d str, &'d At<Name>)>>;

/// Lets domUs start that wait for nobody, again and again. Of those that are left each waits for
/// another that is left; so following them ends in a circle, which is noted and opened.
fn prove_acyclic(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let mut waits: Waits<'_> = BTreeMap::new();
    for (name, doc) in &docs.domus {
        let after = doc.body.iter().flat_map(|domu| &domu.after);
        let after = after.map(|at| (at.value.as_str(), at));
        let known = after.filter(|(other, _)| docs.domus.contains_key(*other));
        waits.insert(name, known.collect());
    }
    loop {
        start(&mut waits);
        let Some(circle) = circle(&waits) else {
            return;
        };
        notes.extend(note(docs, &circle));
        for (name, _) in circle {
            waits.remove(name);
        }
    }
}

/// Takes out those that wait for nobody who is left, until all that are left wait.
fn start(waits: &mut Waits<'_>) {
    loop {
        let left: Vec<&str> = waits.keys().copied().collect();
        let is_left = |name: &str| left.binary_search(&name).is_ok();
        for after in waits.values_mut() {
            after.retain(|(other, _)| is_left(other));
        }
        waits.retain(|_, after| !after.is_empty());
        if waits.len() == left.len() {
            return;
        }
    }
}

/// A circle: its domUs in order, each with the place where it says that it waits for the next.
fn circle<'d>(waits: &Waits<'d>) -> Option<Vec<(&'d str, &'d At<Name>)>> {
    let mut path: Vec<(&'d str, &'d At<Name>)> = Vec::new();
    let mut visited: BTreeMap<&str, usize> = BTreeMap::new();
    let mut at = *waits.keys().next()?;
    loop {
        if let Some(start) = visited.insert(at, path.len()) {
            return Some(path.split_off(start));
        }
        let (next, place) = *waits.get(at)?.first()?;
        path.push((at, place));
        at = next;
    }
}

fn note(docs: &HostDocs, circle: &[(&str, &At<Name>)]) -> Option<Diagnostic> {
    let path = |name: &str| docs.domus.get(name).map(|doc| doc.path.as_str());
    let [(first, place), others @ ..] = circle else {
        return None;
    };
    let message = match others {
        [] => format!("{first} waits for itself"),
        [(second, _)] => format!("{first} and {second} wait for each other"),
        _ => {
            let names = circle.iter().map(|(name, _)| *name).chain([*first]);
            let names: Vec<&str> = names.collect();
            format!("none can start first: {}", names.join(" after "))
        }
    };
    let note = Diagnostic::error(message, path(first)?, place.span.clone());
    let note = others.iter().try_fold(note, |note, (name, place)| {
        Some(note.see(path(name)?, place.span.clone(), ""))
    })?;
    Some(note.help("take a name out of one `after`"))
}
