// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: dom0's addresses, gateways and routes go together.

use super::distinct;
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{At, HostDocs, HostSettings, NetworkDoc, RouteDoc, Written};
use crate::names::Name;
use ipnet::IpNet;
use std::net::IpAddr;

/// How many name servers the C library asks: `MAXNS`, resolv.conf(5).
const NAME_SERVERS: usize = 3;

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else {
        return;
    };
    let settings = &host.settings;
    for (name, network) in &settings.networks {
        prove_none(network, notes);
        for (index, gateway) in network.gateway.iter().enumerate() {
            let before = network.gateway[..index].iter();
            prove_gateway(name, network, gateway, before, notes);
        }
        for route in &network.routes {
            prove_route(name, network, route, notes);
        }
    }
    prove_subnets(settings, notes);
    prove_gateways(settings, notes);
    prove_servers(settings, notes);
}

/// "none" stands alone.
fn prove_none(network: &NetworkDoc, notes: &mut Vec<Diagnostic>) {
    let all = network
        .address
        .read()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if let (Some(none), 2..) = (all.iter().find(|at| at.value.is_none()), all.len()) {
        let message = "`address` says none, and another".to_owned();
        notes.push(none.place.error(message).help("take \"none\" out"));
    }
}

/// What a family of addresses is called.
fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// One that is valid on its link alone, and so on any (RFC 4291, 2.5.6).
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// An address for an example of this family.
fn example(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "192.0.2.10/24",
        IpAddr::V6(_) => "2001:db8::10/64",
    }
}

fn prove_gateway<'n>(
    name: &At<Name>,
    network: &NetworkDoc,
    gateway: &At<IpAddr>,
    mut before: impl Iterator<Item = &'n At<IpAddr>>,
    notes: &mut Vec<Diagnostic>,
) {
    let error = |message: &str| gateway.place.error(message);
    if let Some(first) = before.find(|it| it.value.is_ipv4() == gateway.value.is_ipv4()) {
        let family = family(gateway.value);
        let note = error(&format!("{} has two {family} gateways", name.value));
        let help = "keep one: dom0 has one default route of a family";
        notes.push(note.help(help).see(&first.place, "the first"));
        return;
    }
    let address = match &network.address {
        Written::Refused => return,
        Written::Absent => {
            let example = example(gateway.value);
            let help = format!("add a static address, as address = \"{example}\", or drop gateway");
            return notes.push(error("a gateway needs a static address").help(help));
        }
        Written::Read(address) => address,
    };
    let Some(first) = address.first() else { return };
    if let Some(note) = unreachable(name, network, gateway, "gateway") {
        notes.push(note);
    } else if network.statics().next().is_none() && !is_link_local(gateway.value) {
        let help = match &first.value {
            Some(_) => "drop gateway, as DHCP gives it, or write a static address".to_owned(),
            None => format!(
                "drop gateway, or write an address, as \"{}\"",
                example(gateway.value)
            ),
        };
        let note = error("a gateway needs a static address").help(help);
        notes.push(note.see(&first.place, "the host's address"));
    }
}

/// Why dom0 does not reach a router by its static addresses, if it has some.
fn unreachable(
    name: &At<Name>,
    network: &NetworkDoc,
    router: &At<IpAddr>,
    what: &str,
) -> Option<Diagnostic> {
    let address = router.value;
    let error = |message: &str| router.place.error(message);
    let mut all = network.statics();
    if let Some((_, own)) = all.find(|(net, _)| net.addr() == address) {
        let note = error("the host cannot be its own gateway").help("write the router's address");
        return Some(note.see(&own.place, "the host's address"));
    }
    let mut statics = network.statics().peekable();
    let (_, first) = statics.peek()?;
    let first = &first.place;
    if is_link_local(address) || statics.any(|(net, _)| net.contains(&address)) {
        return None;
    }
    let is_same = |(net, _): &(IpNet, _)| net.addr().is_ipv4() == address.is_ipv4();
    let Some((net, at)) = network.statics().find(is_same) else {
        let family = family(address);
        let message = format!("{} has no {family} address for this {what}", name.value);
        let example = example(address);
        let help = format!("add one to `address`, as \"{example}\", or drop the {what}");
        return Some(error(&message).help(help).see(first, "the host's address"));
    };
    let message = format!("the {what} of {} is outside its subnet", name.value);
    let note = error(&message).help(format!("write one inside {}", net.trunc()));
    Some(note.see(&at.place, "the host's address"))
}

fn prove_route(
    name: &At<Name>,
    network: &NetworkDoc,
    route: &RouteDoc,
    notes: &mut Vec<Diagnostic>,
) {
    let (Some(to), Some(via)) = (&route.to, &route.via) else {
        return;
    };
    if to.value.addr().is_ipv4() != via.value.is_ipv4() {
        let (one, other) = (family(to.value.addr()), family(via.value));
        let message = format!("a route of {one} cannot lead over a router of {other}");
        let note = via.place.error(message).see(&to.place, "where it leads");
        notes.push(note.help(format!("write the router's {one} address")));
    } else if to.value.prefix_len() == 0 {
        let message = "a route to everywhere is a gateway".to_owned();
        let help = format!("write gateway = \"{}\" in place of the route", via.value);
        notes.push(to.place.error(message).help(help));
    } else if let Some(note) = unreachable(name, network, via, "route") {
        notes.push(note);
    } else if network.statics().next().is_none() && matches!(network.address, Written::Absent) {
        let message = "a route needs an address of dom0 on its network".to_owned();
        let help = format!("add one, as address = \"{}\"", example(via.value));
        notes.push(via.place.error(message).help(help));
    }
}

/// An address is dom0's once, and a subnet on one network.
fn prove_subnets(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let mut seen: Vec<(&At<Name>, IpNet, &Place)> = Vec::new();
    for (name, network) in &host.networks {
        let places = network.addresses().map(|(address, at)| At {
            value: address.to_string(),
            place: at.place.clone(),
        });
        let places: Vec<At<String>> = places.collect();
        distinct(places.iter(), "dom0 has this address twice:", notes);
        for (net, at) in network.statics() {
            let overlaps = |(of, other, _): &&(&At<Name>, IpNet, &Place)| {
                of.value != name.value && (other.contains(&net) || net.contains(other))
            };
            if let Some((of, other, place)) = seen.iter().find(overlaps) {
                let message = format!(
                    "{} and {} are both on {}",
                    of.value,
                    name.value,
                    other.trunc()
                );
                let note = at.place.warning(message).see(place, "here already");
                let help = "dom0 reaches each address by one of them only: take another subnet";
                notes.push(note.help(help));
            }
            seen.push((name, net, &at.place));
        }
    }
}

/// Two default routes of one family: it is chance which is taken.
fn prove_gateways(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let all = host.networks.iter();
    let all = all.flat_map(|(name, network)| network.gateway.iter().map(move |it| (name, it)));
    let all: Vec<(&At<Name>, &At<IpAddr>)> = all.collect();
    for (index, (name, gateway)) in all.iter().enumerate() {
        let is_other = |(of, it): &&(&At<Name>, &At<IpAddr>)| {
            of.value != name.value && it.value.is_ipv4() == gateway.value.is_ipv4()
        };
        if let Some((_, first)) = all[..index].iter().find(is_other) {
            let message = format!("dom0 has two {} gateways", family(gateway.value));
            let help = "keep one, and write the other as [[networks.NAME.route]]";
            let note = gateway.place.warning(message).help(help);
            notes.push(note.see(&first.place, "the first"));
        }
    }
}

fn prove_servers(host: &HostSettings, notes: &mut Vec<Diagnostic>) {
    let of_time = host.dom0.iter().flat_map(|dom0| &dom0.ntp);
    distinct(of_time, "dom0 asks twice:", notes);
    let mut servers = host.dom0.iter().flat_map(|dom0| &dom0.dns);
    distinct(servers.clone(), "dom0 asks twice:", notes);
    if let Some(more) = servers.nth(NAME_SERVERS) {
        let message = format!("{} is never asked", more.value);
        let help = format!("programs ask the first {NAME_SERVERS} name servers only: keep these");
        notes.push(more.place.error(message).help(help));
    }
}
