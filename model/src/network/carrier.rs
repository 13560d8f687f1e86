// SPDX-License-Identifier: GPL-3.0-or-later
//! What networks are joined to: a network card, or a bond of several.

use std::fmt::Write;

use uuid::Uuid;

use super::{ETHERNET_MTU, LONGEST_INTERFACE, file, link, vlan_interface};
use crate::fleet::{Bond, Network};
use crate::names::{Name, Port};
use crate::rendered::RenderedFile;

/// What bonds are called before the name of a port. Neither networks nor interfaces of VLANs have
/// the last character.
const BOND: &str = "bond_";

/// What the bond of these ports is called: after the first of them in order, or where that is too
/// long after its digest, so that the order in which they are written does not matter.
pub(crate) fn bond_interface(ports: &[Port]) -> String {
    let first = ports.iter().min();
    let own = first.map(ToString::to_string).unwrap_or_default();
    let room = LONGEST_INTERFACE - BOND.len();
    match first {
        Some(Port::Named(name)) if name.len() <= room => format!("{BOND}{name}"),
        _ => {
            let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, own.as_bytes()).simple();
            format!("{BOND}{:.room$}", digest.to_string())
        }
    }
}

/// The interfaces that a network is joined to, or has its VLAN on, each with what it is called
/// in file names.
pub(super) fn of(network: &Network) -> Vec<(String, Below<'_>)> {
    let ports = network.ports.iter();
    match network.bond {
        None => ports.map(|port| (port.word(), Below::Port(port))).collect(),
        Some(_) if network.ports.is_empty() => Vec::new(),
        Some(mode) => {
            let mut all: Vec<&Port> = ports.collect();
            all.sort();
            vec![(bond_interface(&network.ports), Below::Bond(mode, all))]
        }
    }
}

/// What is below.
pub(super) enum Below<'h> {
    Port(&'h Port),
    Bond(Bond, Vec<&'h Port>),
}

/// An interface, and what it carries.
pub(super) struct Carrier<'h> {
    below: Below<'h>,
    /// The network of what has no tag.
    bridge: Option<&'h Name>,
    /// Networks that are VLANs, with their interfaces.
    vlans: Vec<(&'h Name, String)>,
    mtus: Vec<Option<u32>>,
}

impl<'h> Carrier<'h> {
    pub(super) fn new(below: Below<'h>) -> Self {
        Self {
            below,
            bridge: None,
            vlans: Vec::new(),
            mtus: Vec::new(),
        }
    }

    /// Adds a network of which this is interface number `index`.
    pub(super) fn carry(&mut self, name: &'h Name, network: &Network, index: usize) {
        match network.vlan {
            None => self.bridge = Some(name),
            Some(_) => self.vlans.push((name, vlan_interface(name, index))),
        }
        self.mtus.push(network.mtu);
    }

    pub(super) fn carries(&self, network: &Name) -> bool {
        self.bridge == Some(network) || self.vlans.iter().any(|(name, _)| *name == network)
    }

    /// The MTU that all it carries fits in, if one of the networks says one.
    pub(super) fn mtu(&self) -> Option<u32> {
        let is_said = self.mtus.iter().any(Option::is_some);
        let all = self.mtus.iter().map(|mtu| mtu.unwrap_or(ETHERNET_MTU));
        all.max().filter(|_| is_said)
    }

    pub(super) fn render(self) -> Vec<RenderedFile> {
        let mut carried = String::new();
        match self.bridge {
            Some(bridge) => drop(writeln!(carried, "Bridge={bridge}")),
            // Only VLANs: it has to be up, and wants no address.
            None => carried += "LinkLocalAddressing=no\n",
        }
        for (_, vlan) in &self.vlans {
            let _ = writeln!(carried, "VLAN={vlan}");
        }
        let link = link(self.mtu(), false);
        let (mode, ports) = match &self.below {
            Below::Port(it) => return vec![port(it, &link, &carried)],
            Below::Bond(mode, ports) => (*mode, ports),
        };
        let all: Vec<Port> = ports.iter().map(|port| (*port).clone()).collect();
        let name = bond_interface(&all);
        let own = format!("[Match]\nName={name}\n\n{link}\n[Network]\n{carried}");
        let mut files = vec![
            file(&format!("{name}.netdev"), netdev(&name, mode)),
            file(&format!("{name}.network"), own),
        ];
        // Linux gives ports the MTU of their bond.
        let link = super::link(None, false);
        let bond = format!("Bond={name}\n");
        files.extend(ports.iter().map(|it| port(it, &link, &bond)));
        files
    }
}

fn port(port: &Port, link: &str, network: &str) -> RenderedFile {
    let matches = match port {
        Port::Named(name) => format!("Name={name}"),
        // Not what lies on the card and may have its address.
        Port::Mac(mac) => format!("PermanentMACAddress={mac}\nKind=!*"),
    };
    let text = format!("[Match]\n{matches}\n\n{link}\n[Network]\n{network}");
    file(&format!("{}.port.network", port.word()), text)
}

/// A cable that is out is seen within 100 ms; with LACP, a switch that is silent within 3 s.
fn netdev(name: &str, mode: Bond) -> String {
    let more = match mode {
        Bond::Lacp => "LACPTransmitRate=fast\nTransmitHashPolicy=layer3+4\n",
        Bond::ActiveBackup => "",
        Bond::BalanceXor => "TransmitHashPolicy=layer3+4\n",
    };
    format!("[NetDev]\nName={name}\nKind=bond\n\n[Bond]\nMode={mode}\nMIIMonitorSec=100ms\n{more}")
}
