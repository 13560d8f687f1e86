// SPDX-License-Identifier: GPL-3.0-or-later
//! Network cards of xl configurations (format: xl-network-configuration(5)).

use super::convert::Notes;
use super::document::Vif;
use super::value::{Setting, Value};
use super::{Options, Refused};
use crate::bad_value::{quoted, shown};
use crate::names::Name;
use crate::units::{Mac, Rate};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The bridge that xl takes where none is named and xl.conf says nothing.
const DEFAULT_BRIDGE: &str = "xenbr0";

/// The cards of `vif`.
pub(super) fn read(
    setting: &Setting,
    options: &Options,
    notes: &mut Notes,
) -> Result<Vec<Vif>, Refused> {
    let mut macs = BTreeSet::new();
    let cards = setting.texts()?.into_iter();
    cards
        .map(|(value, text)| card(value, text, options, &mut macs, notes))
        .collect()
}

fn card(
    value: &Value,
    text: &str,
    options: &Options,
    macs: &mut BTreeSet<Mac>,
    notes: &mut Notes,
) -> Result<Vif, Refused> {
    let line = value.line;
    let (mut bridge, mut mac, mut rate, mut addresses) = (None, None, None, Vec::new());
    let parts = text.split(',').map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let (key, said) = part.split_once('=').unwrap_or((part, ""));
        match (key.trim(), said.trim()) {
            ("bridge", said) => bridge = Some(said),
            ("mac", said) => match said.parse::<Mac>() {
                Ok(given) if macs.insert(given) => mac = Some(given),
                Ok(given) => notes.lost(
                    line,
                    "vif",
                    format!("mac={given} is another card's; Domus derives one"),
                ),
                Err(bad) => notes.lost(line, "vif", format!("{}; Domus derives one", bad.problem)),
            },
            ("rate", said) => {
                rate = bits(said).and_then(Rate::from_bits);
                if rate.is_none() {
                    let message = format!("{}: not 100Kbit to 1000Gbit a second", shown(part));
                    notes.lost(line, "vif", message);
                }
            }
            // vif-bridge of Xen lets nothing else pass, too.
            ("ip", said) => {
                let parsed: Option<Vec<IpAddr>> =
                    said.split_whitespace().map(|it| it.parse().ok()).collect();
                addresses = parsed.unwrap_or_default();
                if addresses.is_empty() {
                    let message = format!("{}: no list of addresses", shown(part));
                    notes.lost(line, "vif", message);
                }
            }
            (key, said) => {
                if let Some(message) = lost(key, said) {
                    notes.lost(line, "vif", format!("{}: {message}", shown(part)));
                }
            }
        }
    }
    let bridge = match bridge.filter(|bridge| !bridge.is_empty()) {
        Some(bridge) => bridge,
        None => {
            let message = format!("no bridge is named: it is joined to {DEFAULT_BRIDGE}, as by xl");
            notes.changed(line, "vif", message);
            DEFAULT_BRIDGE
        }
    };
    let bridge = network(value, bridge, options)?;
    Ok(Vif {
        bridge,
        mac,
        rate,
        addresses,
    })
}

fn network(value: &Value, bridge: &str, options: &Options) -> Result<Name, Refused> {
    if let Some(network) = options.networks.get(bridge) {
        return Ok(network.clone());
    }
    bridge.parse().map_err(|_| {
        let problem = format!("the bridge {} is no name of a network", quoted(bridge));
        let advice = format!(
            "say which network of the host it is, as --network {}=lan",
            shown(bridge)
        );
        value.refuse(problem, advice)
    })
}

/// Bits in a second of `rate=`, as `10Mb/s` or `1MB/s@20ms` (xl-network-configuration(5)).
fn bits(said: &str) -> Option<u64> {
    let rate = said.split('@').next()?.strip_suffix("/s")?;
    let digits = rate.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &rate[digits.len()..] {
        "GB" => 8_000_000_000,
        "MB" => 8_000_000,
        "KB" => 8_000,
        "B" => 8,
        "Gb" => 1_000_000_000,
        "Mb" => 1_000_000,
        "Kb" => 1_000,
        "b" => 1,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Where else it belongs, unless cards are so anyway.
fn lost(key: &str, said: &str) -> Option<&'static str> {
    let is_default = match key {
        "script" => said.rsplit('/').next() == Some("vif-bridge"),
        "type" => matches!(said, "vif" | "netfront" | "paravirtualised"),
        "backend" => matches!(said, "" | "0" | "Domain-0"),
        _ => false,
    };
    let message = match key {
        "gateway" | "netmask" | "gatewaydev" => {
            "addresses belong to vservers/NAME/etc/systemd/network"
        }
        "script" => "cards are joined to bridges; what else it does belongs to dom0's /etc",
        "model" | "type" => "domUs have no emulated cards",
        "vifname" | "netdev" => "dom0's end is called vifID.NUMBER",
        "backend" => "dom0 has the other end",
        "mtu" => "it belongs to vservers/NAME/etc/systemd/network",
        _ => "nothing that a [[network]] has",
    };
    (!is_default).then_some(message)
}
