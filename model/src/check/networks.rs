// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: bridges can be made, addresses and gateways fit, and domUs are joined to bridges that
//! their host has.

use super::instead;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, HostDocs, HostSettings, NetworkDoc, Written};
use crate::fleet::Address;
use crate::names::Name;
use crate::network::{LONGEST_INTERFACE, vlan_interface};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else {
        return;
    };
    prove_ports(&host.settings, notes);
    for (name, network) in &host.settings.networks {
        prove_name(name, notes);
        prove_vlan(name, network, notes);
        prove_gateway(name, network, notes);
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

fn prove_ports(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<(&str, Option<u32>), &At<String>> = BTreeMap::new();
    let made = host.networks.iter().flat_map(|(name, network)| {
        let vlans = 0..match network.vlan {
            Written::Absent => 0,
            _ => network.ports.len(),
        };
        let vlans = vlans.map(|index| vlan_interface(&name.value, index));
        vlans.chain([name.value.to_string()])
    });
    let made: BTreeSet<String> = made.collect();
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
            } else if made.contains(&port.value) {
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

fn prove_gateway(name: &At<Name>, network: &NetworkDoc, notes: &mut Vec<Diagnostic>) {
    let Some(gateway) = &network.gateway else {
        return;
    };
    let error = |message: &str| gateway.place.error(message);
    let address = match &network.address {
        Written::Refused => return,
        Written::Absent => {
            let help = "add a static address, as address = \"192.0.2.10/24\", or drop gateway";
            return notes.push(error("a gateway needs a static address").help(help));
        }
        Written::Read(address) => address,
    };
    let note = match &address.value {
        Address::Static(net) if net.addr() == gateway.value => {
            error("the host cannot be its own gateway").help("write the router's address")
        }
        Address::Static(net) if net.contains(&gateway.value) => return,
        Address::Static(net) => {
            let message = format!("the gateway of {} is outside its subnet", name.value);
            error(&message).help(format!("write one inside {}", net.trunc()))
        }
        Address::Dhcp => error("a gateway needs a static address")
            .help("drop gateway, as DHCP gives it, or write a static address"),
        Address::None => error("a gateway needs a static address")
            .help("drop gateway, or write an address, as \"192.0.2.10/24\""),
    };
    notes.push(note.see(&address.place, "the host's address"));
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
