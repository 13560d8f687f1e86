// SPDX-License-Identifier: GPL-3.0-or-later
//! Networks of a host, and who comes in.

use super::{value, values};
use crate::documents::{At, FirewallDoc, ForwardDoc, HostDocs, NetworkDoc, Shared, Written};
use crate::fleet::{DomU, Firewall, Forward, Network, Protocol, Route};
use crate::names::Name;
use crate::units::Mac;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// The network of this document, on which the domUs have cards; `None` if not all of it could be
/// read.
pub(super) fn network(
    shared: &Shared<'_>,
    name: &Name,
    doc: &NetworkDoc,
    domus: &[DomU],
) -> Option<Network> {
    let leases = leases(shared, name, doc, domus);
    let leased: BTreeSet<Ipv4Addr> = leases.values().copied().collect();
    let routes = doc.routes.iter().map(|route| {
        Some(Route {
            to: value(&route.to)?,
            via: value(&route.via)?,
        })
    });
    Some(Network {
        ports: values(&doc.ports),
        bond: value(&doc.bond),
        vlan: match &doc.vlan {
            Written::Absent => None,
            Written::Refused => return None,
            Written::Read(vlan) => Some(u16::try_from(vlan.value).ok()?),
        },
        mtu: value(&doc.mtu),
        address: doc
            .addresses()
            .map(|(address, _)| address.clone())
            .collect(),
        router_advertisements: doc.takes_announced(),
        gateway: values(&doc.gateway),
        routes: routes.collect::<Option<_>>()?,
        nat: doc.has_nat(),
        dhcp: doc.dhcp.as_ref().is_some_and(|dhcp| dhcp.value),
        others: doc
            .dhcp_server()
            .map(|server| others(shared, server, |it| leased.contains(it)))
            .unwrap_or_default(),
        leases,
    })
}

/// The addresses that dom0 keeps on this network, of which it is the DHCP server: those that
/// `global/hosts` gives to domUs, the first to their first card there.
fn leases(
    shared: &Shared<'_>,
    name: &Name,
    doc: &NetworkDoc,
    domus: &[DomU],
) -> BTreeMap<Mac, Ipv4Addr> {
    let Some(server) = doc.dhcp_server() else {
        return BTreeMap::new();
    };
    let of_domu = |domu: &DomU| {
        let cards = domu.vifs.iter().filter(|vif| vif.bridge == *name);
        let macs: Vec<Mac> = cards.map(|vif| vif.mac).collect();
        let addresses = listed(shared, domu.name.as_str(), server).into_iter();
        macs.into_iter().zip(addresses.map(|at| at.value))
    };
    domus.iter().flat_map(of_domu).collect()
}

/// The addresses in the subnet of `server` that `global/hosts` gives to `domu`, each once.
pub(crate) fn listed(shared: &Shared<'_>, domu: &str, server: Ipv4Net) -> Vec<At<Ipv4Addr>> {
    let mut found: Vec<At<Ipv4Addr>> = Vec::new();
    for At { value, place } in shared.hosts.iter().flat_map(|hosts| hosts.of(domu)) {
        if let IpAddr::V4(value) = *value
            && server.contains(&value)
            && found.iter().all(|it| it.value != value)
        {
            let place = place.clone();
            found.push(At { value, place });
        }
    }
    found
}

/// The addresses in the subnet of `server` that `global/hosts` gives to whoever is no card of this
/// network: a domU of another host, a machine, nobody any more.
pub(crate) fn others(
    shared: &Shared<'_>,
    server: Ipv4Net,
    is_leased: impl Fn(&Ipv4Addr) -> bool,
) -> BTreeSet<Ipv4Addr> {
    let all = shared.hosts.iter().flat_map(|hosts| hosts.within(server));
    all.copied().filter(|address| !is_leased(address)).collect()
}

/// Who reaches dom0: SSH from anywhere, where nobody says otherwise.
pub(super) fn firewall(doc: Option<&FirewallDoc>) -> Firewall {
    let anywhere = || vec![Ipv4Net::default().into(), Ipv6Net::default().into()];
    let from = doc.and_then(|doc| doc.ssh_from.as_deref()).map(values);
    Firewall {
        ssh_from: from.unwrap_or_else(anywhere),
        allow: doc.map(|doc| values(&doc.allow)).unwrap_or_default(),
    }
}

pub(super) fn forward(shared: &Shared<'_>, docs: &HostDocs, doc: &ForwardDoc) -> Option<Forward> {
    let port = u16::try_from(value(&doc.port)?).ok()?;
    let to_port = value(&doc.to_port).map(u16::try_from);
    let domu = value(&doc.domu)?;
    let (network, address) = target(shared, docs, &domu)?;
    Some(Forward {
        protocol: value(&doc.protocol).unwrap_or(Protocol::Tcp),
        port,
        to_port: to_port.unwrap_or(Ok(port)).ok()?,
        network,
        address,
        domu,
    })
}

/// Where a port that leads to this domU leads: the first of its networks with NAT on which
/// `global/hosts` gives it an address, and its addresses there.
pub(crate) fn target(
    shared: &Shared<'_>,
    docs: &HostDocs,
    domu: &Name,
) -> Option<(Name, Vec<IpAddr>)> {
    let hosts = shared.hosts.as_ref()?;
    nets_with_nat(docs, domu)
        .into_iter()
        .find_map(|(name, nets)| {
            let listed = hosts.of(domu.as_str()).map(|at| at.value);
            let found = inside(&nets, listed);
            (!found.is_empty()).then(|| (name.clone(), found))
        })
}

/// The networks with NAT to which cards of this domU are joined, with their subnets.
pub(crate) fn nets_with_nat<'d>(docs: &'d HostDocs, domu: &Name) -> Vec<(&'d Name, Vec<IpNet>)> {
    let Some((_, host)) = docs.body() else {
        return Vec::new();
    };
    let guest = docs.guests().find(|guest| guest.name == domu.as_str());
    let vifs = guest.into_iter().flat_map(|it| &it.domu.settings.vifs);
    let found = vifs.filter_map(|vif| {
        let bridge = vif.bridge.as_ref()?;
        let mut networks = host.settings.networks.iter();
        let (name, network) = networks.find(|(name, _)| name.value == bridge.value)?;
        let nets = network.statics().map(|(net, _)| net.trunc()).collect();
        network.has_nat().then_some((&name.value, nets))
    });
    found.collect()
}

/// Those of `addresses` that are inside one of `nets`: the first of each family.
fn inside(nets: &[IpNet], addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in addresses {
        let is_inside = nets.iter().any(|net| net.contains(&address));
        if is_inside && found.iter().all(|it| it.is_ipv4() != address.is_ipv4()) {
            found.push(address);
        }
    }
    found.sort();
    found
}
