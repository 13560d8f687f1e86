// SPDX-License-Identifier: GPL-3.0-or-later
//! dom0's firewall with real packets: the ruleset that follows from a host.toml is loaded in a
//! network namespace, and others connect from theirs.

use domus_model::files::Files;
use domus_model::load::load;
use domus_model::network::render;
use domus_model::rendered::Contents;
use domus_tests::netns::Space;
use domus_tests::{require_root, workspace};
use std::fs;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::time::Duration;
use tempfile::TempDir;

const HOST: &str = r#"
version = 1
machine = { serial = "A", memory = "2GiB" }

[networks.lan]
ports   = ["eno1"]
address = ["192.0.2.10/24", "2001:db8::10/64"]

[networks.inside]
nat     = true
dhcp    = true
address = ["10.20.0.1/24", "fd20::1/64"]

[firewall]
ssh-from = ["192.0.2.0/24", "2001:db8::/64"]
allow    = ["tcp/9100 from 192.0.2.98", "tcp/9200-9201"]

[[forward]]
port    = 8080
domU    = "web"
to-port = 80

[[forward]]
protocol = "udp"
port     = 5300
domU     = "web"
to-port  = 53
"#;

const WEB: &str = "version = 1\nimage = \"web@1\"\n[[network]]\nbridge = \"inside\"";
const NAMES: &str = "10.20.0.5 web\nfd20::5 web\n";

/// The ruleset of a host of these networks.
fn ruleset() -> String {
    let mut files = Files::new();
    files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
    files.insert("pservers/alpha/host.toml", HOST.into());
    files.insert("pservers/alpha/domUs/web.toml", WEB.into());
    files.insert("images/web.toml", "version = 1\nrevision = 1".into());
    files.insert("global/hosts", NAMES.into());
    let fleet = load(&files).expect("a fleet");
    let mut files = render(&fleet.hosts["alpha"]).into_iter();
    match files.find(|file| file.path == "nftables.conf") {
        Some(file) => match file.contents {
            Contents::Text(text) => text,
            Contents::Link(target) => panic!("a link to {target}"),
        },
        None => panic!("no ruleset"),
    }
}

/// A host as systemd-networkd makes it, whoever is outside, a domU behind NAT and one on the
/// bridge that leads out.
struct Net {
    host: Space,
    outside: Space,
    guest: Space,
    neighbour: Space,
}

impl Net {
    fn new() -> Self {
        require_root();
        let net = Self {
            host: Space::new(),
            outside: Space::new(),
            guest: Space::new(),
            neighbour: Space::new(),
        };
        let Self {
            host,
            outside,
            guest,
            neighbour,
        } = &net;
        for bridge in ["lan", "inside"] {
            host.ip(&format!(
                "link add name {bridge} type bridge forward_delay 0"
            ));
            host.ip(&format!("link set {bridge} up"));
        }
        for (port, bridge, other) in [
            ("eno1", "lan", outside),
            ("vif1.0", "inside", guest),
            ("vif2.0", "lan", neighbour),
        ] {
            host.cable(port, other, "eth0");
            host.ip(&format!("link set {port} master {bridge}"));
        }
        for (space, interface, addresses) in [
            (host, "lan", ["192.0.2.10/24", "2001:db8::10/64"]),
            (host, "inside", ["10.20.0.1/24", "fd20::1/64"]),
            (outside, "eth0", ["192.0.2.99/24", "2001:db8::99/64"]),
            (guest, "eth0", ["10.20.0.5/24", "fd20::5/64"]),
            (neighbour, "eth0", ["192.0.2.50/24", "2001:db8::50/64"]),
        ] {
            for address in addresses {
                let nodad = if address.contains("::") { " nodad" } else { "" };
                space.ip(&format!("addr add {address} dev {interface}{nodad}"));
            }
        }
        for (space, routes) in [
            (guest, ["default via 10.20.0.1", "default via fd20::1"]),
            // Whoever tries to reach what is behind the host by its own address.
            (
                outside,
                ["10.20.0.0/24 via 192.0.2.10", "fd20::/64 via 2001:db8::10"],
            ),
        ] {
            for route in routes {
                space.ip(&format!("route add {route}"));
            }
        }
        host.inside(|| {
            for path in ["ipv4/conf/all", "ipv6/conf/all"] {
                fs::write(format!("/proc/sys/net/{path}/forwarding"), "1").expect("routed");
            }
            // dom0 has no br_netfilter; the machine of a test may.
            for family in ["iptables", "ip6tables"] {
                let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
                if fs::exists(&path).expect("a look") {
                    fs::write(&path, "0").expect("off");
                }
            }
        });
        net
    }
}

/// Who is at the other end of the connection that was made to `listener`.
fn peer(listener: &TcpListener) -> IpAddr {
    let (_, peer) = listener.accept().expect("a connection");
    peer.ip().to_canonical()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn nobody_passes_whom_nobody_lets_in() {
    let net = Net::new();
    let Net {
        host,
        outside,
        guest,
        neighbour,
    } = &net;
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("nftables.conf");
    fs::write(&file, ruleset()).expect("written");
    let load = |path: &str| host.run("nft", &["-f", path]);
    let path = file.display().to_string();
    load(&path).exits(0);

    // dom0 itself: SSH, what is allowed, and nothing else, though somebody listens.
    let _own: Vec<TcpListener> = [22, 23, 9100, 9201].map(|port| host.listen(port)).into();
    for address in ["192.0.2.10", "[2001:db8::10]"] {
        outside.connect(&format!("{address}:22"));
        outside.connect(&format!("{address}:9201"));
        outside.meets_silence(&format!("{address}:23"));
        outside.meets_silence(&format!("{address}:9100"));
    }
    outside.ip("addr add 192.0.2.98/24 dev eth0");
    outside.ip("route add 192.0.2.10/32 dev eth0 src 192.0.2.98");
    outside.connect("192.0.2.10:9100");
    outside.ip("route del 192.0.2.10/32");
    guest.meets_silence("10.20.0.1:22");
    guest.meets_silence("[fd20::1]:22");
    host.connect("127.0.0.1:23");

    // A port leads to the domU, which sees who comes; its own address leads nowhere.
    let web = guest.listen(80);
    for (to, from) in [
        ("192.0.2.10:8080", "192.0.2.99"),
        ("[2001:db8::10]:8080", "2001:db8::99"),
    ] {
        let _stream = outside.connect(to);
        assert_eq!(peer(&web), ip(from));
    }
    outside.meets_silence("10.20.0.5:80");
    outside.meets_silence("[fd20::5]:80");
    udp(outside, guest);
    dhcp(&net);

    // The domU reaches out by dom0's addresses.
    let server = outside.listen(7000);
    for (to, from) in [
        ("192.0.2.99:7000", "192.0.2.10"),
        ("[2001:db8::99]:7000", "2001:db8::10"),
    ] {
        let _stream = guest.connect(to);
        assert_eq!(peer(&server), ip(from));
    }

    // What a bridge passes on is nothing to dom0.
    let _bridged = neighbour.listen(7001);
    outside.connect("192.0.2.50:7001");
    outside.connect("[2001:db8::50]:7001");

    // A ruleset that is wrong changes nothing; another takes over in one go.
    fs::write(&file, "flush ruleset\ntable inet domus { chain input {").expect("written");
    load(&path).exits(1);
    outside.meets_silence("192.0.2.10:23");
    outside.connect("192.0.2.10:22");
    fs::write(&file, ruleset().replace("dport 22 ", "dport 23 ")).expect("written");
    load(&path).exits(0);
    outside.connect("192.0.2.10:23");
    outside.meets_silence("192.0.2.10:22");
}

/// A socket of UDP that waits for `limit`.
fn bind(space: &Space, port: u16, limit: Duration) -> UdpSocket {
    let socket = space.inside(|| UdpSocket::bind(("0.0.0.0", port)).expect("a port"));
    socket.set_read_timeout(Some(limit)).expect("a time limit");
    socket.set_broadcast(true).expect("a socket for broadcasts");
    socket
}

/// Questions of DHCP reach dom0 from the network whose server it is, and from no other.
fn dhcp(net: &Net) {
    let hears = |port: u16, limit: Duration, space: &Space, to: &str| {
        let server = bind(&net.host, port, limit);
        bind(space, 68, limit)
            .send_to(b"who?", (to, port))
            .expect("sent");
        server.recv_from(&mut [0; 16]).is_ok()
    };
    let (long, short) = (Duration::from_secs(5), Duration::from_millis(500));
    for to in ["10.20.0.1", "255.255.255.255"] {
        assert!(hears(67, long, &net.guest, to), "{to}");
        assert!(!hears(69, short, &net.guest, to), "{to}");
    }
    for space in [&net.outside, &net.neighbour] {
        for to in ["192.0.2.10", "192.0.2.255"] {
            assert!(!hears(67, short, space, to), "{to}");
        }
    }
}

fn udp(outside: &Space, guest: &Space) {
    let limit = Duration::from_secs(5);
    let (client, server) = (bind(outside, 0, limit), bind(guest, 53, limit));
    client.connect("192.0.2.10:5300").expect("an address");
    client.send(b"who?").expect("sent");
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer).expect("a question");
    assert_eq!(
        (&buffer[..length], from.ip()),
        (&b"who?"[..], ip("192.0.2.99"))
    );
    server.send_to(b"web", from).expect("sent");
    let length = client.recv(&mut buffer).expect("an answer");
    assert_eq!(&buffer[..length], b"web");
}

/// What the unit runs where the ruleset cannot be loaded.
#[test]
fn a_ruleset_that_cannot_be_loaded_leaves_ssh_alone() {
    let net = Net::new();
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("nftables.conf").display().to_string();
    fs::write(&file, "table inet domus { nonsense }").expect("written");
    let rootfs = workspace().join("dom0/rootfs/usr/lib");
    let unit = rootfs.join("systemd/system/nftables.service.d/domus.conf");
    let unit = fs::read_to_string(unit).expect("the unit");
    let command = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '"));
    let command = command
        .and_then(|line| line.strip_suffix('\''))
        .expect("a command");
    let own = rootfs.join("domus/ssh-only.nft").display().to_string();
    let command = command.replace("/usr/lib/domus/ssh-only.nft", &own);
    let command = command.replace("/etc/nftables.conf", &file);
    let failed = net.host.run("sh", &["-c", &command]).exits(1);
    assert!(failed.stderr.contains("nonsense"), "{failed:?}");

    let _own: Vec<TcpListener> = [22, 23].map(|port| net.host.listen(port)).into();
    let _web = net.guest.listen(80);
    for address in ["192.0.2.10", "[2001:db8::10]"] {
        net.outside.connect(&format!("{address}:22"));
        net.outside.meets_silence(&format!("{address}:23"));
    }
    net.outside.meets_silence("192.0.2.10:8080");
    net.outside.meets_silence("10.20.0.5:80");
}
