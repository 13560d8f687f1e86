// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: dom0 can be the DHCP server of a network, and gives each domU the address that
//! `global/hosts` says it has.

use super::hosts::is_shared;
use super::listed;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, HostDocs, NetworkDoc, Shared, VifDoc};
use crate::lower;
use crate::names::Name;
use crate::network::{Pool, pool};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else {
        return;
    };
    let has_name_server = || {
        let mut all = host.settings.dom0.iter().flat_map(|dom0| &dom0.dns);
        all.any(|server| server.value.is_ipv4())
    };
    let mut served = Vec::new();
    for (name, network) in &host.settings.networks {
        let Some(dhcp) = network.dhcp.as_ref().filter(|dhcp| dhcp.value) else {
            continue;
        };
        let server = match prove_server(name, network, dhcp) {
            Ok(Some(server)) => server,
            Ok(None) => continue,
            Err(note) => {
                notes.push(note);
                continue;
            }
        };
        prove_cards(shared, docs, (name, network, server), dhcp, notes);
        if !has_name_server() {
            let message = format!("domUs on {} are told no name server", name.value);
            let help = "write one of IPv4 that they reach, as dns = [\"192.0.2.53\"] in [dom0]";
            notes.push(dhcp.place.warning(message).help(help));
        }
        served.push((&name.value, server));
    }
    prove_outside(shared, docs, &served, notes);
}

/// The address by which dom0 serves; `None` if that it has none is said elsewhere.
fn prove_server(
    name: &At<Name>,
    network: &NetworkDoc,
    dhcp: &At<bool>,
) -> Result<Option<Ipv4Net>, Diagnostic> {
    let name = &name.value;
    if !network.has_nat() {
        let message = format!("{name} has no NAT, so dom0 is not its DHCP server");
        let help = match network.ports.is_empty() {
            true => "write nat = true beside it, or take `dhcp` out",
            false => "take `dhcp` out; dom0 itself asks others with address = \"dhcp\"",
        };
        return Err(dhcp.place.error(message).help(help));
    }
    let server = network.dhcp_server();
    match network.statics().next() {
        Some((_, first)) if server.is_none() => {
            let message = format!("dom0 has no IPv4 address on {name}, and DHCP gives no others");
            let help = "add one to `address`, as \"10.20.0.1/24\", or take `dhcp` out";
            let note = dhcp.place.error(message).help(help);
            Err(note.see(&first.place, "dom0's address"))
        }
        _ => Ok(server),
    }
}

/// Each card gets an address, and no two the same.
fn prove_cards(
    shared: &Shared<'_>,
    docs: &HostDocs,
    (name, network, server): (&At<Name>, &NetworkDoc, Ipv4Net),
    dhcp: &At<bool>,
    notes: &mut Vec<Diagnostic>,
) {
    let mut owners: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    let mut without = 0;
    for guest in docs.guests() {
        let vifs = guest.domu.settings.vifs.iter();
        let cards: Vec<&At<Name>> = vifs
            .filter_map(|vif| vif.bridge.as_ref())
            .filter(|bridge| bridge.value == name.value)
            .collect();
        let addresses = lower::listed(shared, guest.name, server);
        without += cards.len().saturating_sub(addresses.len());
        for (card, address) in cards.into_iter().zip(&addresses) {
            let owner = owners.insert(address.value, guest.name);
            let refused = refused(network, server, guest.name, address.value, owner);
            notes.extend(refused.map(|(message, help)| {
                let note = card.place.error(message).help(help);
                note.see(&address.place, "")
            }));
        }
    }
    let others = lower::others(shared, server, |address| owners.contains_key(address));
    let pool = pool(server, network.statics().map(|(net, _)| net), &others);
    let kept = |pool: Pool| owners.keys().filter(|it| pool.contains(**it)).count();
    let free = pool.map(|pool| (pool.size as usize).saturating_sub(kept(pool)));
    let subnet = server.trunc();
    let message = match free {
        None => format!("{subnet} has no address for a domU"),
        Some(free) if without > free => {
            format!("{subnet} has too few addresses: {without} wanted, {free} left")
        }
        Some(_) => return,
    };
    let mut help = "take a larger subnet in `address`, as \"10.20.0.1/24\"".to_owned();
    if !others.is_empty() {
        help +=
            "; global/hosts gives some of its addresses to others, and no card gets one of these";
    }
    let note = dhcp.place.error(message).help(help);
    let mut statics = network.statics();
    let own = statics.find(|(net, _)| net.addr() == server.addr());
    notes.push(match own {
        Some((_, own)) => note.see(&own.place, "dom0's address"),
        None => note,
    });
}

/// Why the domU `name` cannot have this address, and what to do. `owner`: who has it already.
fn refused(
    network: &NetworkDoc,
    server: Ipv4Net,
    name: &str,
    address: Ipv4Addr,
    owner: Option<&str>,
) -> Option<(String, String)> {
    let own = || network.statics().any(|(net, _)| net.addr() == address);
    if let Some(owner) = owner {
        let message = format!("{owner} and {name} have one address, {address}");
        let help = "give each a line of its own in global/hosts".to_owned();
        Some((message, help))
    } else if address == server.network() || address == server.broadcast() {
        let message = format!("{name} cannot have {address}, which stands for the whole subnet");
        Some((
            message,
            format!("take another of {} in global/hosts", server.trunc()),
        ))
    } else if own() {
        let message = format!("{name} cannot have {address}, which is dom0's own");
        Some((
            message,
            format!("take another of {} in global/hosts", server.trunc()),
        ))
    } else {
        None
    }
}

/// Who gets all its addresses from dom0 gets none that is outside of its networks.
fn prove_outside(
    shared: &Shared<'_>,
    docs: &HostDocs,
    served: &[(&Name, Ipv4Net)],
    notes: &mut Vec<Diagnostic>,
) {
    let subnet = |vif: &VifDoc| {
        let bridge = &vif.bridge.as_ref()?.value;
        let (_, server) = served.iter().find(|(name, _)| *name == bridge)?;
        Some(*server)
    };
    for guest in docs.guests() {
        let vifs = &guest.domu.settings.vifs;
        let nets: Option<Vec<Ipv4Net>> = vifs.iter().map(subnet).collect();
        let Some(nets) = nets else { continue };
        let all = shared.hosts.iter().flat_map(|hosts| hosts.of(guest.name));
        let mut of_ipv4 = all
            .filter(|at| at.value.is_ipv4() && !is_shared(at.value))
            .peekable();
        let (Some(first), Some(card)) = (of_ipv4.peek().copied(), vifs.first()) else {
            continue;
        };
        let is_inside = |at: &At<IpAddr>| match at.value {
            IpAddr::V4(address) => nets.iter().any(|net| net.contains(&address)),
            IpAddr::V6(_) => false,
        };
        if let (false, Some(bridge)) = (of_ipv4.any(is_inside), &card.bridge) {
            let message = format!(
                "dom0 gives {} another address than {}",
                guest.name, first.value
            );
            let nets: Vec<String> = nets.iter().map(|net| net.trunc().to_string()).collect();
            let help = format!("write one of {} in global/hosts", listed(&nets));
            let note = bridge.place.warning(message).help(help);
            notes.push(note.see(&first.place, "its address here"));
        }
    }
}
