// SPDX-License-Identifier: GPL-3.0-or-later
//! A host's networks as systemd-networkd files: one bridge a network, its ports enslaved.

use std::fmt::Write;

use crate::fleet::{Address, Host, Network};
use crate::names::Name;
use crate::rendered::RenderedFile;

/// The files below `/etc` that give `host` its networks. Format: systemd.netdev(5),
/// systemd.network(5).
pub fn render(host: &Host) -> Vec<RenderedFile> {
    host.networks
        .iter()
        .flat_map(|(name, network)| bridge(name, network))
        .collect()
}

fn bridge(name: &Name, network: &Network) -> Vec<RenderedFile> {
    let file = |end: &str, contents: String| {
        RenderedFile::new(format!("systemd/network/50-domus-{name}{end}"), contents)
    };
    let mut files = vec![
        // No STP: a port forwards at once, and a host's bridge is a leaf of its network.
        file(
            ".netdev",
            format!("[NetDev]\nName={name}\nKind=bridge\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n"),
        ),
        file(
            ".network",
            format!("[Match]\nName={name}\n\n{}", address(network)),
        ),
    ];
    if !network.ports.is_empty() {
        let ports = network.ports.join(" ");
        let contents = format!("[Match]\nName={ports}\n\n[Network]\nBridge={name}\n");
        files.push(file("-ports.network", contents));
    }
    files
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
