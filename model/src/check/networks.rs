// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: bridges, bonds and VLANs can be made, and domUs are joined to bridges that their host
//! has.

use super::instead;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, HostDocs, HostSettings, NetworkDoc, Written};
use crate::names::{Name, Port};
use crate::network::{LONGEST_INTERFACE, bond_interface, vlan_interface};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else {
        return;
    };
    prove_ports(&host.settings, notes);
    prove_bonds(&host.settings, notes);
    for (name, network) in &host.settings.networks {
        prove_name(name, notes);
        prove_vlan(name, network, notes);
    }
    prove_bridges(docs, &host.settings, notes);
}

fn prove_name(name: &At<Name>, notes: &mut Vec<Diagnostic>) {
    if name.value.as_str().len() > LONGEST_INTERFACE {
        let message = format!("{} is too long for a network", name.value);
        let help = format!(
            "its bridge has its name, which Linux limits to {LONGEST_INTERFACE} characters"
        );
        notes.push(name.place.error(message).help(help));
    }
}

/// A VLAN needs ports, and interfaces of it on them, whose names have to fit.
fn prove_vlan(name: &At<Name>, network: &NetworkDoc, notes: &mut Vec<Diagnostic>) {
    let Written::Read(vlan) = &network.vlan else {
        return;
    };
    let Some(last) = network.ports.len().checked_sub(1) else {
        let message = format!("{} is a VLAN of no port", name.value);
        let help = "write ports = [\"eno1\"] beside it, or take `vlan` out";
        notes.push(vlan.place.error(message).help(help));
        return;
    };
    let last = if network.bond.is_some() { 0 } else { last };
    let interface = vlan_interface(&name.value, last);
    let longest = LONGEST_INTERFACE - (interface.len() - name.value.as_str().len());
    if (longest + 1..=LONGEST_INTERFACE).contains(&name.value.as_str().len()) {
        let message = format!("{} is too long for a network with a VLAN", name.value);
        let help = format!(
            "an interface would be called {interface}; Linux allows {LONGEST_INTERFACE} \
             characters, so use at most {longest} here"
        );
        let note = name.place.error(message).help(help);
        notes.push(note.see(&vlan.place, ""));
    }
}

/// What Domus makes for a network: its bridge, its bond, interfaces of its VLAN.
fn made(name: &Name, network: &NetworkDoc) -> Vec<String> {
    let ports = values(network);
    let bond = network.bond.as_ref().filter(|_| !ports.is_empty());
    let vlans = match (&network.vlan, bond) {
        (Written::Absent, _) => 0,
        (_, Some(_)) => 1,
        (_, None) => ports.len(),
    };
    let vlans = (0..vlans).map(|index| vlan_interface(name, index));
    let bond = bond.map(|_| bond_interface(&ports));
    vlans.chain([name.to_string()]).chain(bond).collect()
}

fn values(network: &NetworkDoc) -> Vec<Port> {
    network.ports.iter().map(|it| it.value.clone()).collect()
}

fn prove_ports(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<(&Port, Option<u32>), &At<Port>> = BTreeMap::new();
    let all = host.networks.iter();
    let made: BTreeSet<String> = all
        .flat_map(|(name, network)| made(&name.value, network))
        .collect();
    for (name, network) in &host.networks {
        let vlan = match &network.vlan {
            Written::Absent => None,
            Written::Read(vlan) => Some(vlan.value),
            Written::Refused => continue,
        };
        for port in &network.ports {
            if let Some(other) = taken.insert((&port.value, vlan), port) {
                let (message, help) = match vlan {
                    None => (
                        format!("{} cannot be a port twice", port.value),
                        "an interface is a port of one bridge, but for VLANs: keep one of the two",
                    ),
                    Some(vlan) => (
                        format!("VLAN {vlan} of {} cannot be a port twice", port.value),
                        "a VLAN of an interface is a port of one bridge: keep one of the two",
                    ),
                };
                let note = port.place.error(message).help(help);
                notes.push(note.see(&other.place, "here already"));
            } else if made.contains(&port.value.to_string()) {
                let message = format!(
                    "Domus makes {} itself, so it is no port of {}",
                    port.value, name.value
                );
                let help = "write the names of network cards, or rename that network";
                notes.push(port.place.error(message).help(help));
            }
        }
    }
}

/// A card is in one bond, with the same others, or in none.
fn prove_bonds(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&Port, (&At<Name>, &NetworkDoc)> = BTreeMap::new();
    for (name, network) in &host.networks {
        if let Some(bond) = &network.bond
            && network.ports.is_empty()
        {
            let message = format!("{} is a bond of no port", name.value);
            let help = "write ports = [\"eno1\", \"eno2\"] beside it, or take `bond` out";
            notes.push(bond.place.error(message).help(help));
        }
        let differs = network.ports.iter().find_map(|port| {
            let other = *seen.get(&port.value)?;
            differing((name, network), other, port)
        });
        notes.extend(differs);
        for port in &network.ports {
            seen.entry(&port.value).or_insert((name, network));
        }
    }
}

/// What of the bonds of two networks that share a port does not go together.
fn differing(
    (name, network): (&At<Name>, &NetworkDoc),
    (of, other): (&At<Name>, &NetworkDoc),
    port: &At<Port>,
) -> Option<Diagnostic> {
    let mode = |network: &NetworkDoc| network.bond.as_ref().map(|bond| bond.value);
    let set = |network: &NetworkDoc| values(network).into_iter().collect::<BTreeSet<Port>>();
    let (one, two) = (mode(other), mode(network));
    let first = other.bond.as_ref().map(|bond| &bond.place);
    let first = first.unwrap_or(&of.place);
    let place = network
        .bond
        .as_ref()
        .map_or(&port.place, |bond| &bond.place);
    let note = match (one, two) {
        (None, None) => return None,
        (Some(one), Some(two)) if one != two => {
            let message = format!("{} cannot be in two bonds, {one} and {two}", port.value);
            place.error(message).help("write the same `bond` in both")
        }
        (Some(bond), None) | (None, Some(bond)) => {
            let message = format!(
                "{} is in a bond for one network and not for the other",
                port.value
            );
            let lacks = if one.is_none() { of } else { name };
            let help = format!("write bond = \"{bond}\" in [networks.{}], too", lacks.value);
            place.error(message).help(help)
        }
        _ if set(network) != set(other) => {
            let message = format!("{} cannot be in two bonds of different ports", port.value);
            let help = format!(
                "write the same `ports` in [networks.{}] and [networks.{}]",
                of.value, name.value
            );
            port.place.error(message).help(help)
        }
        _ => return None,
    };
    Some(note.see(first, format!("{} is here", of.value)))
}

fn prove_bridges(docs: &HostDocs, host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let names = || host.networks.iter().map(|(name, _)| name.value.as_str());
    for guest in docs.guests() {
        let vifs = guest.domu.settings.vifs.iter();
        for bridge in vifs.filter_map(|vif| vif.bridge.as_ref()) {
            if names().any(|name| name == bridge.value.as_str()) {
                continue;
            }
            let message = format!("{} has no network {}", docs.directory, bridge.value);
            let write = format!("write [networks.{}] in its host.toml", bridge.value);
            let others = instead(bridge.value.as_str(), names());
            let help = others.map_or(write.clone(), |others| format!("{others}; or {write}"));
            notes.push(bridge.place.error(message).help(help));
        }
    }
}
