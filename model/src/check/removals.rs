// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: what a layer removes is there to be removed: in the image, if the repository has its
//! list, in what Domus generates, or in a lower layer. Where a list is missing, the boot says it.

use crate::contents::EtcList;
use crate::diagnostic::{Diagnostic, Place};
use crate::distance::meant;
use crate::documents::{HostDocs, LayerDoc, Shared};
use crate::etc::may_generate;
use crate::lower;

/// What lies below a layer.
struct Below<'d> {
    /// Images or releases, one of which lies at the bottom, by name.
    images: Vec<(&'d str, &'d EtcList)>,
    layers: Vec<&'d LayerDoc>,
}

/// A layer that many have: that one of them has it is enough.
pub(super) fn prove_shared(shared: &Shared<'_>, notes: &mut Vec<Diagnostic>) {
    let Some(fleet) = shared.fleet() else { return };
    let version = lower::release_version(fleet);
    let all = || {
        shared
            .lists
            .iter()
            .map(|(name, list)| (name.as_str(), list))
    };
    let releases = || all().filter(|(name, _)| !name.contains('@'));
    if !shared.lists.contains_key(&version) {
        return;
    }
    let global = Below {
        images: all().collect(),
        layers: Vec::new(),
    };
    let recipes = shared.images.iter();
    let mut images = recipes.map(|(name, doc)| {
        let revision = doc.body.as_ref()?.revision.as_ref()?.value;
        Some(format!("{name}@{revision}"))
    });
    if images.all(|image| image.is_some_and(|image| shared.lists.contains_key(&image))) {
        global.prove(&shared.global, notes);
    }
    for (name, layer) in &shared.groups {
        let others = shared.groups.iter().filter(|(other, _)| *other != name);
        let below = Below {
            images: releases().collect(),
            layers: others
                .map(|(_, layer)| layer)
                .chain([&shared.global])
                .collect(),
        };
        below.prove(layer, notes);
    }
}

/// The layers of one host and of its domUs.
pub(super) fn prove_host(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let (Some(fleet), Some((_, host))) = (shared.fleet(), docs.body()) else {
        return;
    };
    let groups = host.groups.iter();
    let groups = groups.filter_map(|group| shared.groups.get(group.value.as_str()));
    let global = &shared.global;
    let release = lower::host_release(&host.settings, fleet);
    if let Some((name, list)) = shared.lists.get_key_value(&release) {
        let below = Below {
            images: vec![(name, list)],
            layers: [global].into_iter().chain(groups).collect(),
        };
        below.prove(&docs.layer, notes);
    }
    for guest in docs.guests() {
        let Some(layer) = docs.vservers.get(guest.name) else {
            continue;
        };
        let image = guest.domu.settings.image.as_ref();
        let list = image.and_then(|image| shared.lists.get_key_value(&image.value.to_string()));
        if let Some((name, list)) = list {
            let below = Below {
                images: vec![(name, list)],
                layers: vec![global],
            };
            below.prove(layer, notes);
        }
    }
}

impl Below<'_> {
    fn prove(&self, layer: &LayerDoc, notes: &mut Vec<Diagnostic>) {
        for removed in layer.doc.remove.iter().filter(|it| !self.has(&it.value)) {
            let path = &removed.value;
            let known = self.images.iter().flat_map(|(_, list)| list.paths());
            let given = self.layers.iter().flat_map(|layer| targets(layer));
            let known: Vec<&str> = known.chain(given).collect();
            let help = match meant(path, &known) {
                Some(meant) => format!("did you mean {meant}? Else take it out"),
                None => "take it out: there is nothing to remove".to_owned(),
            };
            let mut note = removed
                .place
                .error(format!("nothing below has /etc/{path}"));
            // Of many images none is the one to look at.
            if let [(name, _)] = self.images[..] {
                let what = match name.contains('@') {
                    true => "what the image has",
                    false => "what the release has",
                };
                note = note.see(&Place::whole(EtcList::path(name)), what);
            }
            notes.push(note.help(help));
        }
    }

    fn has(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let gives = |layer: &&LayerDoc| {
            targets(layer).any(|target| target == path || target.starts_with(&below))
        };
        may_generate(path)
            || self.images.iter().any(|(_, list)| list.get(path).is_some())
            || self.layers.iter().any(gives)
    }
}

/// The files that a layer gives, by their path below `/etc`.
fn targets(layer: &LayerDoc) -> impl Iterator<Item = &str> {
    layer.leaves.keys().map(|inside| layer.target(inside))
}
