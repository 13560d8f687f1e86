// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: bridges can be made, addresses and gateways fit, and domUs are joined to bridges that
//! their host has.

use super::instead;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, HostDocs, HostSettings, NetworkDoc, Written};
use crate::fleet::Address;
use crate::names::Name;
use std::collections::BTreeMap;

/// The longest name of a network interface in characters: the kernel's `IFNAMSIZ` less one.
const LONGEST_INTERFACE: usize = 15;

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else {
        return;
    };
    prove_ports(&host.settings, notes);
    for (name, network) in &host.settings.networks {
        prove_name(name, notes);
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

fn prove_ports(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<&str, &At<String>> = BTreeMap::new();
    for (name, network) in &host.networks {
        for port in &network.ports {
            if let Some(other) = taken.insert(&port.value, port) {
                let message = format!("{} cannot be a port twice", port.value);
                let help = "an interface is a port of one bridge: keep one of the two";
                let note = port.place.error(message).help(help);
                notes.push(note.see(&other.place, "here already"));
            } else if host
                .networks
                .iter()
                .any(|(other, _)| other.value.as_str() == port.value)
            {
                let message = format!("{} is a bridge, so no port of {}", port.value, name.value);
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
