// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: what `etc.toml` speaks of is there, no two files of a layer have one place, and layers
//! belong to somebody.

use super::instead;
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{At, HostDocs, LayerDoc, Shared};
use crate::files::{Files, LeafKind, SECRET, TEMPLATE};
use crate::layers::above;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn prove_shared(shared: &Shared<'_>, notes: &mut Vec<Diagnostic>) {
    prove(&shared.global, notes);
    let Some(fleet) = shared.fleet() else {
        return;
    };
    for (directory, layer) in &shared.groups {
        prove(layer, notes);
        let mut known = fleet.groups.iter().map(|(name, _)| name.value.as_str());
        if known.clone().any(|name| name == directory) || layer.is_empty() {
            continue;
        }
        let place = match layer.leaves.values().next() {
            Some((path, _)) => Place::new(path, 0..0),
            None => Place::whole(format!("groups/{directory}/etc.toml")),
        };
        let note = place.error(format!(
            "the fleet has no group {directory}, so no host takes this"
        ));
        let known = instead(directory, &mut known);
        let help = known.unwrap_or_else(|| format!("write [groups.{directory}] in domus.toml"));
        notes.push(note.help(help));
    }
}

pub(super) fn prove_host(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    prove(&docs.layer, notes);
    for layer in docs.vservers.values() {
        prove(layer, notes);
    }
}

/// Notes what one layer by itself fails to prove.
fn prove(layer: &LayerDoc, notes: &mut Vec<Diagnostic>) {
    if layer.is_empty() {
        return;
    }
    let mut targets: BTreeMap<&str, &str> = BTreeMap::new();
    for (inside, (path, leaf)) in &layer.leaves {
        let place = Place::new(path, 0..0);
        prove_leaf(layer, inside, leaf.kind, &place, notes);
        if let Some(other) = targets.insert(layer.target(inside), inside) {
            let target = layer.target(inside);
            let note = place.error(format!("two files would be /etc/{target}"));
            let note = note.see(&layer.place(other), "the other");
            notes.push(note.help("keep one of the two"));
        }
    }
    // A template may have the name of a directory, once its ending is gone.
    for (target, inside) in &targets {
        if let Some(other) = above(target).find_map(|directory| targets.get(directory)) {
            let note = layer
                .place(inside)
                .error(format!("/etc/{target} would be in a file"));
            let note = note.see(&layer.place(other), "the file");
            notes.push(note.help("rename one of the two"));
        }
    }
    let directories: BTreeSet<&str> = targets.keys().copied().flat_map(above).collect();
    prove_secrets(layer, notes);
    prove_removals(layer, &targets, notes);
    prove_attributes(layer, &targets, &directories, notes);
}

fn prove_leaf(
    layer: &LayerDoc,
    inside: &str,
    kind: LeafKind,
    place: &Place,
    notes: &mut Vec<Diagnostic>,
) {
    let is_secret = layer.is_secret(inside);
    let note = match kind {
        LeafKind::Other => {
            let help = "layers hold files and links, whose names are UTF-8";
            place.error("this is neither").help(help)
        }
        LeafKind::Large => {
            let most = Files::LARGEST_PART;
            let help = "hosts keep their part of the commit in RAM; keep large files in images or on \
                volumes";
            place
                .error(format!("this file has more than {most} bytes"))
                .help(help)
        }
        LeafKind::Link if is_secret => place
            .error("a link cannot be a secret")
            .help("put the file here itself"),
        LeafKind::Link if inside.ends_with(TEMPLATE) => {
            let help = "put the file here itself, or name the link otherwise";
            place.error("a link cannot be a template").help(help)
        }
        LeafKind::File | LeafKind::Program if inside.ends_with(SECRET) && !is_secret => {
            let etc_toml = format!("{}/etc.toml", layer.directory);
            let help = format!("write it into `secret` of {etc_toml}, or name it otherwise");
            let message = "this file looks encrypted, and is laid as it is";
            place.warning(message).help(help)
        }
        _ => return,
    };
    notes.push(note);
}

fn prove_secrets(layer: &LayerDoc, notes: &mut Vec<Diagnostic>) {
    for At { value, place } in &layer.doc.secrets {
        if !layer.leaves.contains_key(value) {
            let known = layer.leaves.keys().map(String::as_str);
            let known = known.filter(|path| path.ends_with(SECRET));
            let note = place.error(format!("{}/etc has no {value}", layer.directory));
            let help = instead(value, known);
            notes.push(note.help(help.unwrap_or_else(|| "put it there, or take this out".into())));
        }
    }
}

fn prove_removals(layer: &LayerDoc, targets: &BTreeMap<&str, &str>, notes: &mut Vec<Diagnostic>) {
    let all: BTreeMap<&str, &Place> = layer
        .doc
        .remove
        .iter()
        .map(|it| (it.value.as_str(), &it.place))
        .collect();
    let mut seen = BTreeSet::new();
    for At { value, place } in &layer.doc.remove {
        if let Some(inside) = targets.get(value.as_str()) {
            let note = place.error(format!("{value} is removed and given by one layer"));
            let note = note.see(&layer.place(inside), "given here");
            notes.push(note.help("what a layer gives hides what is below: take it out here"));
        }
        if !seen.insert(value) {
            let note = place.error(format!("{value} is removed twice"));
            notes.push(note.help("keep one of the two"));
        } else if let Some(directory) = above(value).find(|directory| all.contains_key(directory)) {
            let note = place.warning(format!("{value} is gone with {directory}"));
            let note = note.see(all[directory], "removed here");
            notes.push(note.help("take one of the two out"));
        }
    }
}

fn prove_attributes(
    layer: &LayerDoc,
    targets: &BTreeMap<&str, &str>,
    directories: &BTreeSet<&str>,
    notes: &mut Vec<Diagnostic>,
) {
    for (At { value, place }, _) in &layer.doc.files {
        match targets
            .get(value.as_str())
            .map(|inside| layer.leaves[*inside].1.kind)
        {
            Some(LeafKind::Link) => {
                let note = place.error(format!("{value} is a link, which has no mode"));
                notes
                    .push(note.help("name the file that it points at, in the layer that gives it"));
            }
            None if !directories.contains(value.as_str()) => {
                let known = targets.keys().chain(directories).copied();
                let note = place.error(format!("{}/etc gives no {value}", layer.directory));
                let help = instead(value, known);
                let help = help.unwrap_or_else(|| "put it there, or take this out".to_owned());
                notes.push(note.help(help));
            }
            _ => {}
        }
    }
}
