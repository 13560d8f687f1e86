//! Proof: bridges can be made, addresses and gateways fit, and domUs are joined to bridges that
//! their host has.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::{guests, hosts, listed};
use crate::diagnostic::Diagnostic;
use crate::documents::{At, Documents, HostDoc, NetworkDoc, Written};
use crate::fleet::Address;
use crate::names::Name;
use std::collections::BTreeMap;

/// The longest name of a network interface in characters: the kernel's `IFNAMSIZ` less one.
const LONGEST_INTERFACE: usize = 15;

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    for (_, doc, host) in hosts(documents) {
        prove_ports(&doc.path, host, notes);
        for (name, network) in &host.networks {
            prove_name(&doc.path, name, notes);
            prove_gateway(&doc.path, name, network, notes);
        }
    }
    prove_bridges(documents, notes);
}

fn prove_name(path: &str, name: &At<Name>, notes: &mut Vec<Diagnostic>) {
    if name.value.as_str().len() > LONGEST_INTERFACE {
        let message = format!("{} is too long for a network", name.value);
        let help = format!(
            "its bridge has its name, which Linux limits to {LONGEST_INTERFACE} characters"
        );
        notes.push(Diagnostic::error(message, path, name.span.clone()).help(help));
    }
}

fn prove_ports(path: &str, host: &HostDoc, notes: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<&str, &At<String>> = BTreeMap::new();
    for (name, network) in &host.networks {
        for port in &network.ports {
            let span = port.span.clone();
            if let Some(other) = taken.insert(&port.value, port) {
                let message = format!("{} cannot be a port twice", port.value);
                let help = "an interface is a port of one bridge: keep one of the two";
                let note = Diagnostic::error(message, path, span).help(help);
                notes.push(note.see(path, other.span.clone(), "here already"));
            } else if host
                .networks
                .iter()
                .any(|(other, _)| other.value.as_str() == port.value)
            {
                let message = format!("{} is a bridge, so no port of {}", port.value, name.value);
                let help = "write the names of network cards, or rename that network";
                notes.push(Diagnostic::error(message, path, span).help(help));
            }
        }
    }
}

fn prove_gateway(path: &str, name: &At<Name>, network: &NetworkDoc, notes: &mut Vec<Diagnostic>) {
    let Some(gateway) = &network.gateway else {
        return;
    };
    let error = |message: &str| Diagnostic::error(message, path, gateway.span.clone());
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
    notes.push(note.see(path, address.span.clone(), "the host's address"));
}

fn prove_bridges(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    for guest in guests(documents) {
        let host = documents.hosts.get(guest.host);
        let Some(host) = host.and_then(|docs| docs.host.as_ref()?.body.as_ref()) else {
            continue;
        };
        let bridges = guest.domu.vifs.iter().filter_map(|vif| vif.bridge.as_ref());
        for bridge in bridges {
            let names = || host.networks.iter().map(|(name, _)| name.value.as_str());
            if names().any(|name| name == bridge.value.as_str()) {
                continue;
            }
            let message = format!("{} has no network {}", guest.host, bridge.value);
            let help = match listed(names()).as_str() {
                "" => format!("write [networks.{}] in its host.toml", bridge.value),
                has => format!("it has: {has}; others go into its host.toml"),
            };
            notes.push(Diagnostic::error(message, guest.path, bridge.span.clone()).help(help));
        }
    }
}
