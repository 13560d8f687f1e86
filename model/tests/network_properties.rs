// SPDX-License-Identifier: GPL-3.0-or-later
//! Properties of networks that `check` lets pass, whatever they are: no two files of one name,
//! each interface made once and joined to one other.

use domus_model::files::Files;
use domus_model::load::load;
use domus_model::network::render;
use domus_model::rendered::Contents;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Cards, among them such as look like what Domus makes.
const PORTS: [&str; 7] = [
    "eno1",
    "eno2",
    "p0",
    "enp129s0f0np0",
    "bond_eno1",
    "a.p0",
    "mac:00:16:3e:5a:01:07",
];

const BONDS: [&str; 3] = ["802.3ad", "active-backup", "balance-xor"];

/// A network as a table of host.toml.
fn network() -> impl Strategy<Value = String> {
    let ports = prop::sample::subsequence(&PORTS[..], 0..=PORTS.len());
    let bond = prop::option::weighted(0.4, prop::sample::select(&BONDS[..]));
    let vlan = prop::option::of(1..4_u32);
    let mtu = prop::option::weighted(0.2, 1280..9000_u32);
    (ports.prop_shuffle(), bond, vlan, mtu).prop_map(|(ports, bond, vlan, mtu)| {
        let mut text = format!("ports = {ports:?}\n");
        if let Some(bond) = bond {
            let _ = writeln!(text, "bond = {bond:?}");
        }
        for (key, value) in [("vlan", vlan), ("mtu", mtu)] {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    })
}

/// The values of a key of systemd's files, in order.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let value = |line: &'t str| line.strip_prefix(key)?.strip_prefix('=');
    text.lines().filter_map(value).collect()
}

proptest! {
    #[test]
    fn each_interface_is_made_once_and_has_one_master(networks in prop::collection::vec(network(), 1..4)) {
        let mut host = String::from("version = 1\nmachine = { serial = \"A\", memory = \"2GiB\" }\n");
        for (name, network) in ["a", "bond-eno1", "p0"].iter().zip(&networks) {
            let _ = write!(host, "[networks.{name}]\n{network}");
        }
        let mut files = Files::new();
        files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
        files.insert("pservers/alpha/host.toml", host.clone().into());
        let Ok(fleet) = load(&files) else {
            return Ok(());
        };
        let mut all = BTreeMap::new();
        for file in render(&fleet.hosts["alpha"]) {
            let Contents::Text(text) = file.contents else { panic!("a link") };
            prop_assert!(all.insert(file.path.clone(), text).is_none(), "{} twice: {host}", file.path);
        }
        let is_netdev = |path: &str| path.ends_with(".netdev");
        let mut made = BTreeMap::new();
        for (path, text) in all.iter().filter(|(path, _)| is_netdev(path)) {
            let (name, kind) = (values(text, "Name")[0], values(text, "Kind")[0]);
            prop_assert!(name.len() <= 15, "{name}: {host}");
            prop_assert!(!PORTS.contains(&name) || !host.contains(&format!("{name:?}")), "{name}: {host}");
            prop_assert!(made.insert(name, kind).is_none(), "{path}: {host}");
        }
        let mut above: BTreeMap<&str, usize> = BTreeMap::new();
        let mut matched = Vec::new();
        for (path, text) in all.iter().filter(|(path, _)| path.ends_with(".network")) {
            matched.extend(values(text, "Name"));
            let masters = [("Bridge", "bridge"), ("Bond", "bond")].map(|(key, kind)| {
                values(text, key).into_iter().map(move |name| (name, kind)).collect::<Vec<_>>()
            });
            let masters = masters.concat();
            prop_assert!(masters.len() <= 1, "{path}: {host}");
            for (name, kind) in masters {
                prop_assert_eq!(made.get(name), Some(&kind), "{}: {}", name, host);
            }
            for vlan in values(text, "VLAN") {
                prop_assert_eq!(made.get(vlan), Some(&"vlan"), "{}: {}", vlan, host);
                *above.entry(vlan).or_default() += 1;
            }
        }
        for (name, kind) in &made {
            // Each is configured by one file, and a VLAN lies on one interface.
            prop_assert_eq!(matched.iter().filter(|it| *it == name).count(), 1, "{}: {}", name, host);
            prop_assert_eq!(above.get(name).copied().unwrap_or(0), usize::from(*kind == "vlan"), "{}", host);
        }
        matched.sort();
        let before = matched.len();
        matched.dedup();
        prop_assert_eq!(matched.len(), before, "{}", host);
    }
}
