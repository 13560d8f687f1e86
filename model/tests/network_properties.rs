// SPDX-License-Identifier: GPL-3.0-or-later
//! Properties of networks that `check` lets pass, whatever they are: no two files of one name,
//! each interface made once and joined to one other, no address given twice.

use domus_model::files::Files;
use domus_model::load::load;
use domus_model::network::render;
use domus_model::rendered::Contents;
use ipnet::Ipv4Net;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

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

/// Addresses of 10.0.0.0/8 near the edges of small subnets.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    let edge = prop::sample::select(&[0, 1, 255][..]);
    (edge, any::<u8>()).prop_map(|(third, last)| Ipv4Addr::new(10, 0, third, last))
}

/// The files of a host whose network `inside` has DHCP, if it proves: dom0 has `own` there, domUs
/// have one card or two and are listed with these addresses, and `others` are of somebody else.
fn served(
    own: &[(Ipv4Addr, u8)],
    domus: &[(bool, Vec<Ipv4Addr>)],
    others: &[Ipv4Addr],
) -> Option<String> {
    let own: Vec<String> = own
        .iter()
        .map(|(ip, bits)| format!("{ip}/{bits}"))
        .collect();
    let host = format!(
        "version = 1\nmachine = {{ serial = \"A\", memory = \"8GiB\" }}\n\
         [networks.out]\nports = [\"eno1\"]\naddress = \"dhcp\"\n\
         [networks.inside]\nnat = true\ndhcp = true\naddress = {own:?}\n"
    );
    let mut files = Files::new();
    files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
    files.insert("pservers/alpha/host.toml", host.into());
    files.insert("images/web.toml", "version = 1\nrevision = 1".into());
    let mut hosts = String::new();
    for (index, (has_two, addresses)) in domus.iter().enumerate() {
        let card = "[[network]]\nbridge = \"inside\"\n".repeat(1 + usize::from(*has_two));
        let domu = format!("version = 1\nimage = \"web@1\"\n{card}");
        files.insert(format!("pservers/alpha/domUs/d{index}.toml"), domu.into());
        for address in addresses {
            let _ = writeln!(hosts, "{address} d{index}");
        }
    }
    for (index, address) in others.iter().enumerate() {
        let _ = writeln!(hosts, "{address} other{index}");
    }
    files.insert("global/hosts", hosts.into());
    let fleet = load(&files).ok()?;
    let mut all = render(&fleet.hosts["alpha"]).into_iter();
    let inside = all.find(|file| file.path.ends_with("-inside.network"))?;
    match inside.contents {
        Contents::Text(text) => Some(text),
        Contents::Link(target) => panic!("a link to {target}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 65536, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_given_twice(
        own in prop::collection::vec((address(), 16..=32_u8), 1..4),
        domus in prop::collection::vec((any::<bool>(), prop::collection::vec(address(), 0..3)), 0..4),
        others in prop::collection::vec(address(), 0..3),
    ) {
        let text = served(&own, &domus, &others);
        prop_assume!(text.is_some());
        let text = text.unwrap_or_default();
        let number = |key: &str| values(&text, key)[0].parse::<u32>().expect("a number");
        let server: Ipv4Net = values(&text, "ServerAddress")[0].parse().expect("an address");
        let subnet = server.network().to_bits();
        let (offset, size) = (number("PoolOffset"), number("PoolSize"));
        // As sd_dhcp_server_configure_pool wants it.
        prop_assert!(offset >= 1 && size >= 1, "{}", text);
        prop_assert!(subnet + offset + size <= server.broadcast().to_bits(), "{}", text);
        let pool = subnet + offset..subnet + offset + size;
        for (own, _) in &own {
            prop_assert!(!pool.contains(&own.to_bits()), "{}", text);
        }
        for other in &others {
            prop_assert!(!pool.contains(&other.to_bits()), "{}", text);
        }
        // Each card has one of its own.
        let leases = text.split("[DHCPServerStaticLease]").skip(1);
        let leases: Vec<(&str, Ipv4Addr)> = leases
            .map(|lease| {
                let address = values(lease, "Address")[0].parse().expect("an address");
                (values(lease, "MACAddress")[0], address)
            })
            .collect();
        let macs: BTreeSet<&str> = leases.iter().map(|(mac, _)| *mac).collect();
        let addresses: BTreeSet<Ipv4Addr> = leases.iter().map(|(_, address)| *address).collect();
        prop_assert_eq!((macs.len(), addresses.len()), (leases.len(), leases.len()), "{}", text);
        for address in &addresses {
            prop_assert!(server.contains(address), "{}", text);
            prop_assert!(own.iter().all(|(own, _)| own != address), "{}", text);
            prop_assert!(![server.network(), server.broadcast()].contains(address), "{}", text);
        }
        // There is one for each card that has none.
        let cards: usize = domus.iter().map(|(has_two, _)| 1 + usize::from(*has_two)).sum();
        let kept = addresses.iter().filter(|it| pool.contains(&it.to_bits())).count();
        prop_assert!(cards - leases.len() + kept <= size as usize, "{}", text);
    }

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
