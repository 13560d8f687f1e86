// SPDX-License-Identifier: GPL-3.0-or-later
//! dom0 as the DHCP server of a network's domUs, which systemd-networkd is on the bridge. Format:
//! systemd.network(5), `[DHCPServer]` and `[DHCPServerStaticLease]`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::fleet::{Host, Network};
use crate::rendered::RenderedFile;

/// The unit by which systemd-networkd keeps leases, and without which it gives none. dom0's image
/// has it masked: it costs a process at boot, and networkd needs it for nothing else.
pub(crate) const LEASES: &str = "systemd-networkd-persistent-storage.service";

/// How long an address is given for. While a card has another one, or another client identifier
/// has the one that is kept for it, networkd gives it none: with networkd's hour, a domU whose
/// address changes would be as long without one.
const LEASE_MINUTES: u32 = 5;

/// dom0's address as a DHCP server, with its subnet: the first of IPv4 of its static addresses
/// that is not valid on one link alone.
pub(crate) fn server(statics: impl IntoIterator<Item = IpNet>) -> Option<Ipv4Net> {
    statics.into_iter().find_map(|net| match net {
        IpNet::V4(net) if !net.addr().is_link_local() => Some(net),
        IpNet::V4(_) | IpNet::V6(_) => None,
    })
}

/// Addresses, one after another, of which whoever has none is given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    first: u32,
    /// How many there are; never 0.
    pub(crate) size: u32,
}

impl Pool {
    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits().wrapping_sub(self.first) < self.size
    }
}

/// The longest row of addresses in the subnet of `server` without one of dom0's own, which are
/// `statics`, and of `others`; `None` if there is none. networkd itself leaves out what it keeps for
/// somebody.
pub(crate) fn pool(
    server: Ipv4Net,
    statics: impl IntoIterator<Item = IpNet>,
    others: &BTreeSet<Ipv4Addr>,
) -> Option<Pool> {
    let mut taken = vec![server.network(), server.broadcast()];
    taken.extend(statics.into_iter().filter_map(|net| match net.addr() {
        IpAddr::V4(address) => server.contains(&address).then_some(address),
        IpAddr::V6(_) => None,
    }));
    taken.extend(others);
    taken.sort();
    let rows = taken.windows(2).map(|pair| {
        let (before, after) = (pair[0].to_bits(), pair[1].to_bits());
        Pool {
            first: before.saturating_add(1),
            size: (after - before).saturating_sub(1),
        }
    });
    rows.filter(|row| row.size > 0)
        .max_by_key(|row| (row.size, Reverse(row.first)))
}

/// Whether dom0 is the DHCP server of a network.
pub(crate) fn gives_addresses(host: &Host) -> bool {
    host.networks.values().any(|network| network.dhcp)
}

/// Starts [`LEASES`] where dom0 is a DHCP server.
pub(super) fn kept(host: &Host) -> Option<RenderedFile> {
    let unit = || {
        let target = format!("/usr/lib/systemd/system/{LEASES}");
        RenderedFile::link(format!("systemd/system/{LEASES}"), target)
    };
    gives_addresses(host).then(unit)
}

/// What a bridge's file has more where dom0 is its DHCP server. domUs are told what host.toml says
/// and nothing that dom0 was told itself.
pub(super) fn sections(network: &Network, name_servers: &[IpAddr]) -> Option<String> {
    let server = server(network.statics()).filter(|_| network.dhcp)?;
    let pool = pool(server, network.statics(), &network.others)?;
    let offset = pool.first - server.network().to_bits();
    let size = pool.size;
    let mut text = format!(
        "\n[DHCPServer]\nServerAddress={server}\nPoolOffset={offset}\nPoolSize={size}\n\
         DefaultLeaseTimeSec={LEASE_MINUTES}min\nMaxLeaseTimeSec={LEASE_MINUTES}min\n\
         UplinkInterface=:none\n"
    );
    for server in name_servers.iter().filter(|server| server.is_ipv4()) {
        let _ = writeln!(text, "DNS={server}");
    }
    for (mac, address) in &network.leases {
        let _ = write!(
            text,
            "\n[DHCPServerStaticLease]\nMACAddress={mac}\nAddress={address}\n"
        );
    }
    Some(text)
}
