// SPDX-License-Identifier: GPL-3.0-or-later
//! Networks of a host: bridges, what they are joined to, and who comes in.

use crate::names::{Name, Port};
use crate::units::Mac;
use ipnet::IpNet;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A bridge of a host, to which domUs' network cards are joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Network {
    /// The host's network cards that are joined to it.
    pub ports: Vec<Port>,
    /// How these are one, if they are.
    pub bond: Option<Bond>,
    /// The VLAN on these that it is; with none, it is what has no tag there.
    pub vlan: Option<u16>,
    /// The longest packet in bytes; with none, Linux' own choice.
    pub mtu: Option<u32>,
    /// dom0's own addresses on it; with none, the bridge is for domUs only.
    pub address: Vec<Address>,
    /// Whether dom0 takes IPv6 addresses and routes that routers announce.
    pub router_advertisements: bool,
    /// dom0's default gateways, one of a family at most.
    pub gateway: Vec<IpAddr>,
    /// dom0's other routes.
    #[serde(rename = "route")]
    pub routes: Vec<Route>,
    /// Whether its domUs reach out by dom0's addresses; it has no ports then.
    pub nat: bool,
    /// Whether dom0 gives its domUs their IPv4 addresses by DHCP; it has NAT then.
    pub dhcp: bool,
    /// The addresses that are kept for cards of domUs, if it does.
    #[serde(rename = "lease")]
    pub leases: BTreeMap<Mac, Ipv4Addr>,
    /// The addresses in its subnet that somebody else has by `global/hosts`: no card is given one.
    #[serde(rename = "kept-out")]
    pub others: BTreeSet<Ipv4Addr>,
}

impl Network {
    /// dom0's static addresses.
    pub fn statics(&self) -> impl Iterator<Item = IpNet> {
        self.address.iter().filter_map(Address::net)
    }

    /// Whether dom0 itself asks for an address by DHCP.
    pub fn asks_dhcp(&self) -> bool {
        self.address.contains(&Address::Dhcp)
    }

    /// Whether dom0 is on it, and not only its domUs.
    pub fn has_dom0(&self) -> bool {
        !self.address.is_empty() || self.router_advertisements
    }

    /// Whether dom0 reaches others by it, who are not on this host.
    pub fn leads_out(&self) -> bool {
        self.has_dom0() && !self.ports.is_empty()
    }
}

/// How several network cards are one. Source: systemd.netdev(5), `[Bond] Mode=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Bond {
    /// LACP; the switch has to speak it.
    #[serde(rename = "802.3ad")]
    Lacp,
    /// One card works, the next takes over; the switch need not know.
    #[serde(rename = "active-backup")]
    ActiveBackup,
    /// All work; the switch has a static group of them.
    #[serde(rename = "balance-xor")]
    BalanceXor,
}

impl Bond {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Lacp, Self::ActiveBackup, Self::BalanceXor];
}

impl fmt::Display for Bond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lacp => "802.3ad",
            Self::ActiveBackup => "active-backup",
            Self::BalanceXor => "balance-xor",
        })
    }
}

/// dom0's own address on a bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// Whatever DHCP gives.
    Dhcp,
    /// This address with its prefix length.
    Static(IpNet),
}

impl Address {
    /// The address, if it is written.
    pub fn net(&self) -> Option<IpNet> {
        match self {
            Self::Dhcp => None,
            Self::Static(net) => Some(*net),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.pad("dhcp"),
            Self::Static(net) => net.fmt(f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A route of dom0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Where it leads.
    pub to: IpNet,
    /// The router, of the same family.
    pub via: IpAddr,
}

/// Who reaches dom0. Nobody else does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Firewall {
    /// Whence SSH is reached; never empty.
    pub ssh_from: Vec<IpNet>,
    /// What else is reached.
    pub allow: Vec<Opening>,
}

/// The port of dom0's SSH.
pub const SSH: u16 = 22;

/// What ports are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports of dom0 that are reached: `tcp/9100`, `udp/6000-6010 from 192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The first port and the last, which is not less.
    pub ports: (u16, u16),
    /// By whom; with none, by all.
    pub from: Option<IpNet>,
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.ports;
        write!(f, "{}/{first}", self.protocol)?;
        if first != last {
            write!(f, "-{last}")?;
        }
        match self.from {
            Some(from) => write!(f, " from {from}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Opening {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A port of dom0's addresses that leads to a domU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port that others see.
    pub port: u16,
    /// The domU.
    #[serde(rename = "domU")]
    pub domu: Name,
    /// The port that it leads to.
    pub to_port: u16,
    /// The network with NAT on which the domU has its addresses.
    pub network: Name,
    /// These, one of a family at most; never empty.
    pub address: Vec<IpAddr>,
}
