// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: `global/hosts` gives no address to two, and agrees with what hosts have.

use crate::diagnostic::Diagnostic;
use crate::documents::{At, HostDocs, Shared};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Whether many may have it: it names no machine.
pub(super) fn is_shared(address: IpAddr) -> bool {
    address.is_loopback() || address.is_multicast() || address.is_unspecified()
}

pub(super) fn prove_shared(shared: &Shared<'_>, notes: &mut Vec<Diagnostic>) {
    let mut addresses: BTreeMap<IpAddr, &At<IpAddr>> = BTreeMap::new();
    let mut names: BTreeMap<(&str, bool), &At<IpAddr>> = BTreeMap::new();
    let lines = shared.hosts.iter().flat_map(|hosts| &hosts.lines);
    for line in lines.filter(|line| !is_shared(line.address.value)) {
        let address = line.address.value;
        if let Some(first) = addresses.insert(address, &line.address) {
            let note = line
                .address
                .place
                .error(format!("two lines give {address} away"))
                .see(&first.place, "the first")
                .help("one address is one machine's: write all its names in one line");
            notes.push(note);
        }
        for name in &line.names {
            let family = (name.value.as_str(), address.is_ipv4());
            if let Some(first) = names.insert(family, &line.address)
                && first.value != address
            {
                let note = name
                    .place
                    .warning(format!("{} has two addresses", name.value))
                    .see(&first.place, "the first")
                    .help("most programs take the first and never the other");
                notes.push(note);
            }
        }
    }
}

/// Whoever looks a host up finds it where it is.
pub(super) fn prove_host(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let (Some(hosts), Some((_, host))) = (&shared.hosts, docs.body()) else {
        return;
    };
    let networks = host.settings.networks.iter();
    let addresses = networks.flat_map(|(_, network)| network.statics());
    let own: Vec<_> = addresses.map(|(net, at)| (net.addr(), &at.place)).collect();
    for listed in hosts.of(&docs.directory) {
        let same_family = |(address, _): &&(IpAddr, _)| address.is_ipv4() == listed.value.is_ipv4();
        let mut family = own.iter().filter(same_family).peekable();
        let Some((address, place)) = family.peek().copied() else {
            continue;
        };
        if is_shared(listed.value) || family.any(|(address, _)| *address == listed.value) {
            continue;
        }
        let message = format!(
            "{} has {address} here and {} in global/hosts",
            docs.directory, listed.value
        );
        let note = place.error(message).see(&listed.place, "");
        notes.push(note.help("write the same address in both"));
    }
}
