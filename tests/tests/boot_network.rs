// SPDX-License-Identifier: GPL-3.0-or-later
//! dom0's network as systemd-networkd and nftables make it of host.toml: a bond of two cards, a
//! VLAN on it, NAT, DHCP and the firewall, with packets over real cards. As `boot_disks`, without Xen.

use domus_tests::console::Console;
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::machine::{BASIC, Bus, DECISION, Machine, Parts};
use domus_tests::stage::{Stage, systemd};
use serde_json::Value;

/// The cards: two that are one, and that of somebody outside.
const CARDS: [&str; 3] = [
    "52:54:00:00:00:01",
    "52:54:00:00:00:02",
    "52:54:00:00:00:03",
];

const NETWORKS: &str = r#"
[networks.lan]
ports   = ["eno1", "mac:52:54:00:00:00:02"]
bond    = "active-backup"
address = ["192.0.2.10/24", "2001:db8::10/64"]
gateway = ["192.0.2.1", "fe80::1"]

[[networks.lan.route]]
to  = "203.0.113.0/24"
via = "192.0.2.2"

[networks.storage]
ports   = ["mac:52:54:00:00:00:02", "eno1"]
bond    = "active-backup"
vlan    = 20
mtu     = 9000
address = "198.51.100.10/24"

[networks.inside]
nat     = true
dhcp    = true
address = ["10.20.0.1/24", "fd20::1/64"]

[[forward]]
port = 8080
domU = "web"
"#;

/// Whoever is outside, and two domUs behind NAT, each with a network of its own.
const OTHERS: [&str; 18] = [
    "ip netns add out",
    "ip link set eno3 netns out",
    "ip -n out link set eno3 mtu 9000 up",
    "ip -n out addr add 192.0.2.99/24 dev eno3",
    "ip -n out addr add 2001:db8::99/64 dev eno3 nodad",
    "ip -n out link add link eno3 name v20 type vlan id 20",
    "ip -n out link set v20 up",
    "ip -n out addr add 198.51.100.99/24 dev v20",
    "ip netns add web",
    "ip link add name vif1.0 type veth peer name eth0 address 00:16:3e:5a:01:07 netns web",
    "ip link set vif1.0 master inside up",
    "ip -n web link set eth0 up",
    "ip -n web addr add fd20::5/64 dev eth0 nodad",
    "ip -n web route add default via fd20::1",
    "ip netns add new",
    "ip link add name vif2.0 type veth peer name eth1 netns new",
    "ip link set vif2.0 master inside up",
    "ip -n new link set eth1 up",
];

/// Writes the program that udhcpc runs: it uses what it was given, and writes it down.
const USE: &str = concat!(
    r#"printf '%s\n' '#!/bin/sh' '[ "$1" = bound ] || exit 0' "#,
    r#"'ip addr replace "$ip/$mask" dev "$interface"' 'ip route replace default via "$router"' "#,
    r#"'echo "$ip $dns" >"/run/$interface.given"' >/run/use && chmod +x /run/use"#,
);

/// Asks for an address on the card of one of the others.
fn ask(space: &str, card: &str) -> String {
    format!("ip netns exec {space} busybox udhcpc -i {card} -f -q -n -t 3 -T 1 -s /run/use")
}

fn change(fleet: &Fleet) {
    let lan = "[networks.lan]                 # a bridge named lan\n\
               ports   = [\"eno1\"]\naddress = \"dhcp\"\n";
    fleet.change("pservers/alpha/host.toml", lan, NETWORKS);
    let dns = "[dom0]\ndns = [\"192.0.2.99\", \"2001:db8::99\"]\n";
    fleet.change("pservers/alpha/host.toml", "[dom0]\n", dns);
    fleet.change("pservers/alpha/domUs/web.toml", "\"lan\"", "\"inside\"");
    fleet.append("global/hosts", "10.20.0.5 web\nfd20::5 web\n");
    fleet.commit();
}

fn json(console: &mut Console, command: &str) -> Value {
    let said = console.ok(command);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"))
}

/// What `ip` says of the interface of this name.
fn link(console: &mut Console, name: &str) -> Value {
    json(console, &format!("ip -json -details link show {name}"))[0].clone()
}

/// Asserts that `command` succeeds within a minute or two.
#[track_caller]
fn becomes(console: &mut Console, command: &str) {
    let wait = format!("for i in $(seq 60); do {command} && break; sleep 1; done; {command}");
    let (code, said) = console.run(&wait);
    assert_eq!(code, 0, "{command}: {said}");
}

/// dom0 gives domUs addresses: what is theirs, and what is left. Nobody outside gets one.
fn given(console: &mut Console) {
    console.ok(USE);
    becomes(console, &ask("web", "eth0"));
    assert_eq!(
        console.ok("cat /run/eth0.given").trim(),
        "10.20.0.5 192.0.2.99"
    );
    console.ok(&ask("new", "eth1"));
    let new = console.ok("cat /run/eth1.given");
    let last = new
        .strip_prefix("10.20.0.")
        .and_then(|rest| rest.split_once(' '));
    let last = last.and_then(|(last, _)| last.parse::<u8>().ok());
    assert!(
        last.is_some_and(|it| (2..255).contains(&it) && it != 5),
        "{new}"
    );
    assert_ne!(console.run(&ask("out", "eno3")).0, 0);
    // It is kept, so that nobody else gets it when networkd starts anew.
    console.ok("systemctl is-active systemd-networkd-persistent-storage.service");
    console.ok("grep -q 10,20,0,5 /var/lib/systemd/network/dhcp-server-lease/inside");
    let status = console.ok("networkctl --no-pager status inside");
    assert!(status.contains("10.20.0.5"), "{status}");
}

#[test]
fn bonds_vlans_and_nat_carry_packets() {
    let stage = Stage::with("network", change);
    let disk = stage.good("own").disk(24);
    let parts = Parts {
        disks: vec![(Bus::Virtio, disk)],
        cards: &CARDS,
        arguments: BASIC,
        ..Parts::new(&stage.release, ALPHA, &[])
    };
    let mut machine = Machine::start(&parts, (stage.dir(), "network"));
    let console = &mut machine.console;
    console.wait_for("domus: starting systemd", DECISION);

    // The firewall is there before there is a network.
    systemd(console, "true");
    becomes(console, "systemctl is-active nftables.service");
    let rules = console.ok("nft list ruleset");
    for text in [
        "policy drop",
        "tcp dport 22 accept",
        "dnat ip to 10.20.0.5:8080",
        "masquerade",
    ] {
        assert!(rules.contains(text), "no {text:?} in {rules}");
    }
    assert_ne!(
        console.run("modprobe br_netfilter").0,
        0,
        "frames of guests would be filtered"
    );
    let forwarding = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding";
    assert_eq!(console.ok(forwarding).replace('\n', ""), "00");

    console.ok("systemctl start systemd-networkd.service");
    becomes(
        console,
        "ip -brief link show master storage | grep -q storage.p0@bond_eno1",
    );
    becomes(console, "! ip -6 -brief addr show tentative | grep -q 2001");
    let bond = link(console, "bond_eno1");
    assert_eq!(bond["linkinfo"]["info_data"]["mode"], "active-backup");
    assert_eq!(
        (&bond["master"], &bond["mtu"]),
        (&"lan".into(), &9000.into())
    );
    for port in ["eno1", "eno2"] {
        assert_eq!(link(console, port)["master"], "bond_eno1", "{port}");
    }
    let vlan = link(console, "storage.p0");
    assert_eq!(vlan["linkinfo"]["info_data"]["id"], 20);
    assert_eq!(
        (&vlan["master"], &vlan["mtu"]),
        (&"storage".into(), &9000.into())
    );
    for (name, mtu) in [("lan", 1500), ("storage", 9000), ("inside", 1500)] {
        assert_eq!(link(console, name)["mtu"], mtu, "{name}");
    }
    for (family, route) in [
        ("-4", "default via 192.0.2.1 dev lan"),
        ("-4", "203.0.113.0/24 via 192.0.2.2 dev lan"),
        ("-6", "default via fe80::1 dev lan"),
    ] {
        becomes(console, &format!("ip {family} route | grep -q '{route}'"));
    }
    assert_eq!(console.ok(forwarding).replace('\n', ""), "11");

    for command in OTHERS {
        console.ok(command);
    }
    given(console);
    let ping = |space: &str, to: &str| {
        format!("ip netns exec {space} busybox ping -c 1 -w 3 {to} >/dev/null")
    };
    becomes(console, &ping("out", "192.0.2.10"));
    becomes(console, &ping("out", "2001:db8::10"));
    becomes(console, &ping("out", "-s 8900 198.51.100.10"));
    becomes(console, &ping("web", "192.0.2.99"));
    becomes(console, &ping("web", "2001:db8::99"));
    // The other card takes over.
    console.ok("ip link set eno1 down");
    becomes(console, &ping("out", "192.0.2.10"));
    becomes(console, &ping("out", "198.51.100.10"));
    let active = "cat /sys/class/net/bond_eno1/bonding/active_slave";
    assert_eq!(console.ok(active).trim(), "eno2");

    // A file of the operator's that is no ruleset: what is in force stays so.
    console.ok("echo nonsense >/etc/nftables.conf");
    let (code, _) = console.run("systemctl reload-or-restart nftables.service");
    assert_ne!(code, 0);
    assert!(
        console
            .ok("nft list ruleset")
            .contains("dnat ip to 10.20.0.5:8080")
    );
    assert_ne!(console.run("systemctl restart nftables.service").0, 0);
    let rules = console.ok("nft list ruleset");
    assert!(
        rules.contains("tcp dport 22 accept") && !rules.contains("dnat"),
        "{rules}"
    );
    let failed = console.ok("systemctl --failed --plain --no-legend");
    assert!(failed.contains("nftables.service"), "{failed}");
}
