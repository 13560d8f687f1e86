// SPDX-License-Identifier: GPL-3.0-or-later
//! A host's networks as systemd-networkd files: one bridge a network, joined to its ports, or to
//! the bond that they are; with a VLAN, to an interface of that VLAN on each of these.

mod carrier;
mod dhcp;
mod firewall;

pub(crate) use carrier::bond_interface;
pub(crate) use dhcp::{LEASES, Pool, gives_addresses, pool, server as dhcp_server};

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use carrier::Carrier;
use ipnet::IpNet;

use crate::fleet::{Address, Host, Network};
use crate::names::Name;
use crate::rendered::RenderedFile;

/// The longest name of a network interface in characters: the kernel's `IFNAMSIZ` less one.
pub(crate) const LONGEST_INTERFACE: usize = 15;
/// The MTU of Ethernet where nobody says another.
const ETHERNET_MTU: u32 = 1500;

/// What the interface of a network's VLAN on its port number `index`, or on its bond, is called.
/// Names of networks have no dots, so no bridge is called so; `ip link` shows the port behind it.
pub(crate) fn vlan_interface(network: &Name, index: usize) -> String {
    format!("{network}.p{index}")
}

/// The files below `/etc` that give `host` its networks and its firewall. Format:
/// systemd.netdev(5), systemd.network(5), networkd.conf(5), resolv.conf(5), timesyncd.conf(5),
/// nft(8).
pub fn render(host: &Host) -> Vec<RenderedFile> {
    let mut carriers: BTreeMap<String, Carrier<'_>> = BTreeMap::new();
    for (name, network) in &host.networks {
        for (index, (key, below)) in carrier::of(network).into_iter().enumerate() {
            let carrier = carriers.entry(key).or_insert_with(|| Carrier::new(below));
            carrier.carry(name, network, index);
        }
    }
    let mut files = Vec::new();
    for (name, network) in &host.networks {
        let mut own = carriers.values().filter(|it| it.carries(name));
        // Linux gives a bridge the MTU of its ports: where these have one that is said, all say.
        let is_said = network.mtu.is_some() || own.any(|it| it.mtu().is_some());
        let mtu = is_said.then(|| network.mtu.unwrap_or(ETHERNET_MTU));
        files.extend(bridge(name, network, mtu, &host.dom0.dns));
        if let Some(vlan) = network.vlan {
            let interfaces = (0..carrier::of(network).len()).map(|it| vlan_interface(name, it));
            files.extend(interfaces.flat_map(|it| tagged(name, &it, vlan, mtu)));
        }
    }
    files.extend(carriers.into_values().flat_map(Carrier::render));
    files.extend(forwarding(host));
    files.extend(dhcp::kept(host));
    files.extend(resolver(host));
    files.extend(clock(host));
    files.push(firewall::render(host));
    files
}

fn file(end: &str, contents: String) -> RenderedFile {
    RenderedFile::new(format!("systemd/network/50-domus-{end}"), contents)
}

/// `[Link]`: the MTU if it is said, and whether the host is online only with it.
fn link(mtu: Option<u32>, is_required: bool) -> String {
    let mtu = mtu.map(|mtu| format!("MTUBytes={mtu}\n"));
    let online = if is_required { "routable" } else { "no" };
    format!(
        "[Link]\n{}RequiredForOnline={online}\n",
        mtu.unwrap_or_default()
    )
}

fn bridge(
    name: &Name,
    network: &Network,
    mtu: Option<u32>,
    name_servers: &[IpAddr],
) -> [RenderedFile; 2] {
    // Made with another MTU than it gets: what networkd does not have to set, Linux takes for
    // nobody's wish, and gives the bridge that of its ports.
    let made = mtu.map(|mtu| format!("MTUBytes={}\n", mtu - 4));
    let made = made.unwrap_or_default();
    // No STP: a port forwards at once, and a host's bridge is a leaf of its network.
    let netdev = format!(
        "[NetDev]\nName={name}\nKind=bridge\n{made}\n[Bridge]\nSTP=no\nForwardDelaySec=0\n"
    );
    let own = format!(
        "[Match]\nName={name}\n\n{}\n{}{}",
        link(mtu, network.leads_out()),
        addresses(network),
        dhcp::sections(network, name_servers).unwrap_or_default()
    );
    [
        file(&format!("{name}.netdev"), netdev),
        file(&format!("{name}.network"), own),
    ]
}

fn tagged(network: &Name, interface: &str, vlan: u16, mtu: Option<u32>) -> [RenderedFile; 2] {
    let netdev = format!("[NetDev]\nName={interface}\nKind=vlan\n\n[VLAN]\nId={vlan}\n");
    let own = format!(
        "[Match]\nName={interface}\n\n{}\n[Network]\nBridge={network}\n",
        link(mtu, false)
    );
    [
        file(&format!("{interface}.netdev"), netdev),
        file(&format!("{interface}.network"), own),
    ]
}

fn addresses(network: &Network) -> String {
    let mut text = String::from("[Network]\nConfigureWithoutCarrier=yes\n");
    if !network.has_dom0() {
        return text + "LinkLocalAddressing=no\n";
    }
    for address in &network.address {
        let _ = match address {
            Address::Dhcp => writeln!(text, "DHCP=yes"),
            Address::Static(net) => writeln!(text, "Address={net}"),
        };
    }
    for gateway in &network.gateway {
        let _ = writeln!(text, "Gateway={gateway}");
    }
    let announced = if network.router_advertisements {
        "yes"
    } else {
        "no"
    };
    let _ = writeln!(text, "IPv6AcceptRA={announced}");
    if network.dhcp {
        text += "DHCPServer=yes\n";
    }
    for route in &network.routes {
        let (to, via) = (route.to, route.via);
        let _ = write!(text, "\n[Route]\nDestination={to}\nGateway={via}\n");
    }
    text
}

/// The families that are routed through dom0: those of networks with NAT.
pub(crate) fn routed(host: &Host) -> Vec<&'static str> {
    let with_nat = host.networks.values().filter(|network| network.nat);
    let nets: Vec<IpNet> = with_nat.flat_map(Network::statics).collect();
    let is_routed = |is_ipv4| nets.iter().any(|net| net.addr().is_ipv4() == is_ipv4);
    let families = [("IPv4", is_routed(true)), ("IPv6", is_routed(false))];
    let families = families.into_iter().filter(|(_, is_routed)| *is_routed);
    families.map(|(family, _)| family).collect()
}

/// IPv6 is not routed by one interface alone, so this is of all (ip-sysctl, `conf/all/forwarding`).
fn forwarding(host: &Host) -> Option<RenderedFile> {
    let families = routed(host);
    let mut text = String::from("[Network]\n");
    for family in &families {
        let _ = writeln!(text, "{family}Forwarding=yes");
    }
    let path = "systemd/networkd.conf.d/50-domus.conf";
    (!families.is_empty()).then(|| RenderedFile::new(path, text))
}

fn resolver(host: &Host) -> Option<RenderedFile> {
    let mut text = String::from("# [dom0] dns, by domus-boot\n");
    for server in &host.dom0.dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    (!host.dom0.dns.is_empty()).then(|| RenderedFile::new("resolv.conf", text))
}

fn clock(host: &Host) -> Option<RenderedFile> {
    let servers = &host.dom0.ntp;
    let text = format!("[Time]\nNTP={}\n", servers.join(" "));
    let path = "systemd/timesyncd.conf.d/50-domus.conf";
    (!servers.is_empty()).then(|| RenderedFile::new(path, text))
}
