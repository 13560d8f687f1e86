// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: networks with NAT have a way out, and what comes in comes to somebody.

use super::{distinct, instead, listed};
use crate::diagnostic::Diagnostic;
use crate::documents::{At, ForwardDoc, HostDocs, HostSettings, NetworkDoc, Shared};
use crate::fleet::{Opening, Protocol, SSH};
use crate::lower;
use crate::names::Name;
use std::collections::BTreeMap;

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else {
        return;
    };
    let settings = &host.settings;
    for (name, network) in &settings.networks {
        prove_nat(settings, name, network, notes);
    }
    let allow = settings.firewall.iter().flat_map(|it| &it.allow);
    distinct(allow, "this is allowed twice:", notes);
    prove_ports(settings, notes);
    for forward in &settings.forwards {
        prove_target(shared, docs, forward, notes);
    }
}

fn prove_nat(
    host: &HostSettings,
    name: &At<Name>,
    network: &NetworkDoc,
    notes: &mut Vec<Diagnostic>,
) {
    let Some(nat) = network.nat.as_ref().filter(|nat| nat.value) else {
        return;
    };
    let name = &name.value;
    if let Some(port) = network.ports.first() {
        let message = format!("{name} has ports, so its domUs need no NAT");
        let help = "take `nat` out; or `ports`, and dom0 is the router of its domUs";
        notes.push(nat.place.error(message).help(help).see(&port.place, ""));
        return;
    }
    if let Some(gateway) = network.gateway.first() {
        let message = format!("{name} has no gateway: dom0 is the gateway of its domUs");
        let note = gateway.place.error(message).see(&nat.place, "");
        notes.push(note.help("take `gateway` out"));
    }
    if network.statics().next().is_none() {
        let message = format!("dom0 has no address on {name}, by which domUs could reach out");
        let help = "write its own there, as address = [\"10.20.0.1/24\", \"fd20::1/64\"]";
        notes.push(nat.place.error(message).help(help));
    }
    let leads_out = |network: &NetworkDoc| {
        let has_dom0 = network.addresses().next().is_some() || network.takes_announced();
        has_dom0 && !network.ports.is_empty()
    };
    if !host.networks.iter().any(|(_, network)| leads_out(network)) {
        let message = format!("{name} leads nowhere: no network with ports has an address of dom0");
        let help = "write `address` in a network that has `ports`";
        notes.push(nat.place.error(message).help(help));
    }
}

/// A port leads to one domU, or to dom0.
fn prove_ports(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<(Protocol, u32), &At<u32>> = BTreeMap::new();
    let allow = || host.firewall.iter().flat_map(|it| &it.allow);
    for forward in &host.forwards {
        let Some(port) = &forward.port else { continue };
        let protocol = forward
            .protocol
            .as_ref()
            .map_or(Protocol::Tcp, |it| it.value);
        let is_in = |opening: &&At<Opening>| {
            let (first, last) = opening.value.ports;
            opening.value.protocol == protocol
                && (u32::from(first)..=u32::from(last)).contains(&port.value)
        };
        if let Some(first) = taken.insert((protocol, port.value), port) {
            let message = format!("two forwards of {protocol} port {}", port.value);
            let note = port.place.error(message).see(&first.place, "the first");
            notes.push(note.help("change one of the two"));
        } else if (protocol, port.value) == (Protocol::Tcp, u32::from(SSH)) {
            let message = "tcp port 22 is dom0's own SSH".to_owned();
            let help = "forward another, as port = 2222 with to-port = 22";
            notes.push(port.place.error(message).help(help));
        } else if let Some(opening) = allow().find(is_in) {
            let message = format!("{protocol} port {} is dom0's, and a domU's", port.value);
            let note = port
                .place
                .error(message)
                .see(&opening.place, "allowed here");
            notes.push(note.help("take it out of `allow`, or forward another"));
        }
    }
}

/// It is a domU of this host, and dom0 knows its address.
fn prove_target(
    shared: &Shared<'_>,
    docs: &HostDocs,
    forward: &ForwardDoc,
    notes: &mut Vec<Diagnostic>,
) {
    let Some(At { value: domu, place }) = &forward.domu else {
        return;
    };
    let known = || docs.domus.keys().map(String::as_str);
    if !known().any(|name| name == domu.as_str()) {
        let help = instead(domu.as_str(), known());
        let message = format!("{} has no domU {domu}", docs.directory);
        let help = help.unwrap_or_else(|| "it has none at all: take [[forward]] out".to_owned());
        notes.push(place.error(message).help(help));
        return;
    }
    let networks = lower::nets_with_nat(docs, domu);
    if networks.is_empty() {
        let message = format!("{domu} has no card on a network with NAT");
        let help = "forwards lead there: join it to one, or write nat = true in its network; on a \
                    network with ports it has an address of its own that others reach";
        notes.push(place.error(message).help(help));
    } else if lower::target(shared, docs, domu).is_none() {
        let names = networks.iter().map(|(name, _)| name.as_str());
        let message = format!("global/hosts gives {domu} no address on {}", listed(names));
        let nets: Vec<String> = networks
            .iter()
            .flat_map(|(_, nets)| nets)
            .map(ToString::to_string)
            .collect();
        let help = format!(
            "write a line for it there, an address inside {} and its name",
            nets.join(" or ")
        );
        notes.push(place.error(message).help(help));
    }
}
