// SPDX-License-Identifier: GPL-3.0-or-later
//! The layers of a host and its domUs, filled in.

use super::vars;
use crate::diagnostic::Diagnostic;
use crate::documents::{HostDocs, LayerDoc, Shared, VarsDoc};
use crate::fleet::Vars;
use crate::layers::{Layer, Machine, compose};
use crate::names::Name;
use std::collections::BTreeMap;

/// The layers of a host and of its domUs, by what their files are called.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(super) host: Vec<Layer>,
    pub(super) domus: BTreeMap<String, Vec<Layer>>,
}

/// Fills in the layers of a host and its domUs, and notes what cannot be filled in.
pub(crate) fn layers(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) -> Layers {
    let mut layers = Layers::default();
    let fleet = shared.fleet().and_then(|fleet| fleet.name.as_ref());
    let (Some(fleet), Some((doc, host))) = (fleet, docs.body()) else {
        return layers;
    };
    let fleet = &fleet.value;
    let groups: Vec<Name> = host.groups.iter().map(|it| it.value.clone()).collect();
    let of_groups = groups
        .iter()
        .filter_map(|group| shared.groups.get(group.as_str()));
    let stack: Vec<&LayerDoc> = [&shared.global]
        .into_iter()
        .chain(of_groups)
        .chain([&docs.layer])
        .collect();
    let lower: Vec<&VarsDoc> = shared.vars(&groups).chain([&host.vars]).collect();
    if let Some(name) = doc.name.as_ref().filter(|_| !all_empty(&stack)) {
        let vars: Vars = vars(lower.iter().copied());
        let machine = Machine {
            fleet,
            kind: "host",
            name,
            groups: &groups,
            vars: &vars,
        };
        layers.host = compose(&machine, stack, notes);
    }
    for guest in docs.guests() {
        let own = docs.vservers.get(guest.name);
        let stack: Vec<&LayerDoc> = [&shared.global].into_iter().chain(own).collect();
        let Some(name) = guest.doc.name.as_ref().filter(|_| !all_empty(&stack)) else {
            continue;
        };
        let vars = vars(lower.iter().copied().chain([&guest.domu.vars]));
        let machine = Machine {
            fleet,
            kind: "domU",
            name,
            groups: &[],
            vars: &vars,
        };
        let of_guest = compose(&machine, stack, notes);
        layers.domus.insert(guest.name.to_owned(), of_guest);
    }
    layers
}

fn all_empty(stack: &[&LayerDoc]) -> bool {
    stack.iter().all(|layer| layer.is_empty())
}
