// SPDX-License-Identifier: GPL-3.0-or-later
//! A host's networks as systemd-networkd files: one bridge a network, its ports enslaved; with a
//! VLAN, an interface of that VLAN on each port instead of the port itself.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::fleet::{Address, Host, Network};
use crate::names::Name;
use crate::rendered::RenderedFile;

/// The longest name of a network interface in characters: the kernel's `IFNAMSIZ` less one.
pub(crate) const LONGEST_INTERFACE: usize = 15;

/// What the interface of a network's VLAN on its port number `index` is called. Names of networks
/// have no dots, so no bridge is called so; `ip link` shows the port behind it.
pub(crate) fn vlan_interface(network: &Name, index: usize) -> String {
    format!("{network}.p{index}")
}

/// The files below `/etc` that give `host` its networks. Format: systemd.netdev(5),
/// systemd.network(5).
pub fn render(host: &Host) -> Vec<RenderedFile> {
    let mut files = Vec::new();
    let mut ports: BTreeMap<&str, Port<'_>> = BTreeMap::new();
    for (name, network) in &host.networks {
        files.extend(bridge(name, network));
        for (index, port) in network.ports.iter().enumerate() {
            let port = ports.entry(port).or_default();
            match network.vlan {
                None => port.bridge = Some(name),
                Some(vlan) => {
                    let interface = vlan_interface(name, index);
                    files.extend(tagged(name, &interface, vlan));
                    port.vlans.push(interface);
                }
            }
        }
    }
    let ports = ports.iter().map(|(name, port)| port.render(name));
    files.extend(ports);
    files
}

/// What an interface of the host carries.
#[derive(Default)]
struct Port<'h> {
    /// The network of what has no tag.
    bridge: Option<&'h Name>,
    /// Interfaces of VLANs.
    vlans: Vec<String>,
}

impl Port<'_> {
    fn render(&self, name: &str) -> RenderedFile {
        let mut text = format!("[Match]\nName={name}\n\n[Network]\n");
        match self.bridge {
            Some(bridge) => drop(writeln!(text, "Bridge={bridge}")),
            // Only VLANs: it has to be up, and wants no address.
            None => text += "LinkLocalAddressing=no\n",
        }
        for vlan in &self.vlans {
            let _ = writeln!(text, "VLAN={vlan}");
        }
        file(&format!("{name}.port.network"), text)
    }
}

fn file(end: &str, contents: String) -> RenderedFile {
    RenderedFile::new(format!("systemd/network/50-domus-{end}"), contents)
}

fn bridge(name: &Name, network: &Network) -> [RenderedFile; 2] {
    // No STP: a port forwards at once, and a host's bridge is a leaf of its network.
    let netdev =
        format!("[NetDev]\nName={name}\nKind=bridge\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n");
    let own = format!("[Match]\nName={name}\n\n{}", address(network));
    [
        file(&format!("{name}.netdev"), netdev),
        file(&format!("{name}.network"), own),
    ]
}

fn tagged(network: &Name, interface: &str, vlan: u16) -> [RenderedFile; 2] {
    let netdev = format!("[NetDev]\nName={interface}\nKind=vlan\n\n[VLAN]\nId={vlan}\n");
    let own = format!("[Match]\nName={interface}\n\n[Network]\nBridge={network}\n");
    [
        file(&format!("{interface}.netdev"), netdev),
        file(&format!("{interface}.network"), own),
    ]
}

fn address(network: &Network) -> String {
    let mut text = String::from("[Network]\nConfigureWithoutCarrier=yes\n");
    match &network.address {
        Address::None => text += "LinkLocalAddressing=no\n",
        Address::Dhcp => text += "DHCP=yes\n",
        Address::Static(net) => {
            let _ = writeln!(text, "Address={net}");
        }
    }
    if let Some(gateway) = network.gateway {
        let _ = writeln!(text, "Gateway={gateway}");
    }
    text
}
