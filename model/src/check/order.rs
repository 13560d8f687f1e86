// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: whom a domU waits for is there, and nobody waits for himself.

use super::instead;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, DomUDoc, HostDocs};
use crate::names::Name;
use std::collections::BTreeMap;

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    for (own, doc) in &docs.domus {
        let after = doc.body.iter().flat_map(after);
        for name in after.filter(|name| !docs.domus.contains_key(name.value.as_str())) {
            let message = format!("there is no domU {} on {}", name.value, docs.directory);
            let others = docs.domus.keys().filter(|other| *other != own);
            let others = others.map(String::as_str);
            let help = instead(name.value.as_str(), others)
                .unwrap_or_else(|| "take it out: there is no other domU on this host".to_owned());
            notes.push(name.place.error(message).help(help));
        }
    }
    prove_acyclic(docs, notes);
}

fn after(domu: &DomUDoc) -> &[At<Name>] {
    &domu.settings.after
}

/// For each domU that waits, for whom among those of its host.
type Waits<'d> = BTreeMap<&'d str, Vec<(&'d str, &'d At<Name>)>>;

/// Lets domUs start that wait for nobody, again and again. Of those that are left each waits for
/// another that is left; so following them ends in a circle, which is noted and opened.
fn prove_acyclic(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let mut waits: Waits<'_> = BTreeMap::new();
    let is_waiting = |name: &str| {
        let doc = docs.domus.get(name).and_then(|doc| doc.body.as_ref());
        doc.is_some_and(|doc| !after(doc).is_empty())
    };
    for (name, doc) in &docs.domus {
        let after = doc.body.iter().flat_map(after);
        let after = after.map(|at| (at.value.as_str(), at));
        // Whoever is not there is noted above; who waits for nobody starts.
        let waiting: Vec<_> = after.filter(|(other, _)| is_waiting(other)).collect();
        if !waiting.is_empty() {
            waits.insert(name, waiting);
        }
    }
    loop {
        start(&mut waits);
        let Some(circle) = circle(&waits) else {
            return;
        };
        notes.extend(note(&circle));
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

fn note(circle: &[(&str, &At<Name>)]) -> Option<Diagnostic> {
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
    let note = place.place.error(message);
    let others = others.iter();
    let note = others.fold(note, |note, (_, place)| note.see(&place.place, ""));
    Some(note.help("take a name out of one `after`"))
}
