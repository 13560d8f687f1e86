// SPDX-License-Identifier: GPL-3.0-or-later
//! What `host.toml` says of networks: `[networks.NAME]`, `[firewall]` and `[[forward]]`.

use super::addresses::{ADDRESS, BOND, MACHINE, OPENING, PORT, PROTOCOL, SUBNET};
use super::forms::name;
use super::place::At;
use super::table::Table;
use crate::fleet::{Address, Bond, Opening, Protocol};
use crate::names::{Name, Port};
use crate::network;
use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;

/// The least MTU is IPv6's (RFC 8200, 5); the greatest is what the IP length field can say.
const MTU: std::ops::RangeInclusive<u32> = 1280..=65535;
/// Ports of TCP and UDP.
const PORTS: std::ops::RangeInclusive<u32> = 1..=65535;

/// `[networks.NAME]`
#[derive(Debug)]
pub(crate) struct NetworkDoc {
    pub(crate) ports: Vec<At<Port>>,
    pub(crate) bond: Option<At<Bond>>,
    pub(crate) vlan: Written<At<u32>>,
    pub(crate) mtu: Option<At<u32>>,
    pub(crate) address: Written<Vec<AddressDoc>>,
    pub(crate) router_advertisements: Option<At<bool>>,
    pub(crate) gateway: Vec<At<IpAddr>>,
    pub(crate) routes: Vec<RouteDoc>,
    pub(crate) nat: Option<At<bool>>,
    pub(crate) dhcp: Option<At<bool>>,
}

/// An address of dom0, or that it has none.
pub(crate) type AddressDoc = At<Option<Address>>;

/// `[[networks.NAME.route]]`
#[derive(Debug)]
pub(crate) struct RouteDoc {
    pub(crate) to: Option<At<IpNet>>,
    pub(crate) via: Option<At<IpAddr>>,
}

/// `[firewall]`
#[derive(Debug)]
pub(crate) struct FirewallDoc {
    pub(crate) ssh_from: Option<Vec<At<IpNet>>>,
    pub(crate) allow: Vec<At<Opening>>,
}

/// `[[forward]]`
#[derive(Debug)]
pub(crate) struct ForwardDoc {
    pub(crate) protocol: Option<At<Protocol>>,
    pub(crate) port: Option<At<u32>>,
    pub(crate) domu: Option<At<Name>>,
    pub(crate) to_port: Option<At<u32>>,
}

/// An optional value of which it matters whether it is absent or was refused.
#[derive(Debug)]
pub(crate) enum Written<T> {
    Absent,
    Refused,
    Read(T),
}

impl<T> Written<T> {
    /// What `read` is, the value of `key`.
    fn of(table: &Table<'_>, key: &str, read: Option<T>) -> Self {
        match read {
            Some(value) => Self::Read(value),
            None if table.has(key) => Self::Refused,
            None => Self::Absent,
        }
    }

    /// The value, if it could be read.
    pub(crate) fn read(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Absent | Self::Refused => None,
        }
    }
}

impl NetworkDoc {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let ports = "network cards of the host that are joined to it";
        let bond = "how its ports are one";
        let vlan = "the VLAN on its ports that it is, if not what has no tag there";
        let mtu = "the longest packet in bytes, if not 1500";
        let address = "dom0's own: none, dhcp, one with its prefix length, or several";
        let ra = "whether dom0 takes IPv6 addresses and routes that routers announce";
        let gateway = "dom0's default gateway, or one of each family";
        let nat = "whether its domUs reach out by dom0's addresses";
        let dhcp = "whether dom0 gives its domUs their IPv4 addresses by DHCP; it has NAT then";
        Self {
            ports: table.list("ports", ports, &PORT),
            bond: table.read("bond", bond, &BOND),
            vlan: Written::of(table, "vlan", table.number("vlan", vlan, 1..=4094)),
            mtu: table.number("mtu", mtu, MTU),
            address: Written::of(
                table,
                "address",
                table.one_or_more("address", address, &ADDRESS),
            ),
            router_advertisements: table.flag("router-advertisements", ra),
            gateway: table
                .one_or_more("gateway", gateway, &MACHINE)
                .unwrap_or_default(),
            routes: table.tables("route", "a route of dom0", RouteDoc::read),
            nat: table.flag("nat", nat),
            dhcp: table.flag("dhcp", dhcp),
        }
    }

    /// dom0's addresses, as far as they could be read.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&Address, &AddressDoc)> {
        let all = self.address.read().into_iter().flatten();
        all.filter_map(|at| Some((at.value.as_ref()?, at)))
    }

    /// dom0's static addresses, as far as they could be read.
    pub(crate) fn statics(&self) -> impl Iterator<Item = (IpNet, &AddressDoc)> {
        self.addresses()
            .filter_map(|(address, at)| Some((address.net()?, at)))
    }

    /// Whether dom0 takes what routers announce: where nobody says, if it asks for an address.
    pub(crate) fn takes_announced(&self) -> bool {
        match &self.router_advertisements {
            Some(said) => said.value,
            None => self.addresses().any(|(it, _)| *it == Address::Dhcp),
        }
    }

    /// Whether its domUs reach out by dom0's addresses.
    pub(crate) fn has_nat(&self) -> bool {
        self.nat.as_ref().is_some_and(|nat| nat.value)
    }

    /// dom0's address as the DHCP server of its domUs, if it is to be one and has one.
    pub(crate) fn dhcp_server(&self) -> Option<Ipv4Net> {
        let serves = self.dhcp.as_ref().is_some_and(|dhcp| dhcp.value);
        let server = || network::dhcp_server(self.statics().map(|(net, _)| net));
        serves.then(server).flatten()
    }
}

impl RouteDoc {
    fn read(table: &Table<'_>) -> Self {
        Self {
            to: table.require("to", "where it leads", &SUBNET),
            via: table.require("via", "the router", &MACHINE),
        }
    }
}

impl FirewallDoc {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let ssh = "subnets from which SSH is reached, if not from anywhere";
        let firewall = Self {
            ssh_from: table.one_or_more("ssh-from", ssh, &SUBNET),
            allow: table.list("allow", "what else is reached", &OPENING),
        };
        if firewall.ssh_from.as_ref().is_some_and(Vec::is_empty) {
            let message = "nobody could reach this host by SSH".to_owned();
            let help = "write from where, as ssh-from = [\"192.0.2.0/24\"], or take it out";
            table.notes().error(&table.place(), message, help);
        }
        firewall
    }
}

impl ForwardDoc {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let port = "the port of dom0's addresses";
        let forward = Self {
            protocol: table.read("protocol", "what the port is of, if not tcp", &PROTOCOL),
            port: table.number("port", port, PORTS),
            domu: table.require("domU", "the domU that it leads to", &name("web")),
            to_port: table.number("to-port", "the domU's port, if another", PORTS),
        };
        table.must_have("port", || "write port = 8080".to_owned());
        forward
    }
}
