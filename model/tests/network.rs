// SPDX-License-Identifier: GPL-3.0-or-later
//! Networks of hosts as files of systemd-networkd and nftables, as golden files: all of a host in one, the path of
//! each above it. `UPDATE_EXPECTED=1 cargo test -p domus-model` writes them anew.

mod repository;

use domus_model::files::Files;
use domus_model::load::load;
use domus_model::network::render;
use domus_model::rendered::Contents;
use repository::manifest_dir;
use std::fs;

/// What host.toml says, by the name of its golden file.
const CASES: [(&str, &str); 16] = [
    (
        "bridge",
        "[networks.lan]\nports = [\"eno1\", \"eno2\"]\naddress = \"192.0.2.10/24\"\n\
         gateway = \"192.0.2.1\"",
    ),
    ("inside", "[networks.lan]"),
    (
        "vlan",
        "[networks.dmz]\nports = [\"eno1\"]\nvlan = 20\naddress = \"dhcp\"",
    ),
    (
        "trunk",
        "[networks.lan]\nports = [\"eno1\"]\naddress = \"dhcp\"\n\
         [networks.dmz]\nports = [\"eno1\"]\nvlan = 20\n\
         [networks.voice]\nports = [\"eno1\"]\nvlan = 4094",
    ),
    (
        "vlan-of-two-ports",
        "[networks.storage]\nports = [\"enp129s0f0np0\", \"enp129s0f1np1\"]\nvlan = 1",
    ),
    (
        "bond",
        "[networks.lan]\nports = [\"eno2\", \"eno1\"]\nbond = \"802.3ad\"\n\
         address = \"192.0.2.10/24\"",
    ),
    (
        "bond-trunk",
        "[networks.lan]\nports = [\"eno1\", \"eno2\"]\nbond = \"active-backup\"\naddress = \"dhcp\"\n\
         [networks.dmz]\nports = [\"eno2\", \"eno1\"]\nbond = \"active-backup\"\nvlan = 20\n\
         [networks.voice]\nports = [\"eno1\", \"eno2\"]\nbond = \"active-backup\"\nvlan = 30",
    ),
    (
        "bond-of-long-names",
        "[networks.lan]\nports = [\"enp129s0f0np0\", \"enp129s0f1np1\"]\nbond = \"balance-xor\"\n\
         vlan = 7",
    ),
    (
        "by-mac",
        "[networks.lan]\nports = [\"mac:00:16:3E:5A:01:07\", \"mac:00:16:3e:5a:01:08\"]\n\
         bond = \"802.3ad\"\n\
         [networks.dmz]\nports = [\"mac:00:16:3e:5a:01:09\"]\nvlan = 20",
    ),
    (
        "both-families",
        "[dom0]\ndns = [\"192.0.2.53\", \"2001:db8::53\"]\n\
         ntp = [\"2001:db8::123\", \"ntp.example.net\"]\n\
         [networks.lan]\nports = [\"eno1\"]\naddress = [\"192.0.2.10/24\", \"2001:db8::10/64\"]\n\
         gateway = [\"192.0.2.1\", \"fe80::1\"]\n\
         [[networks.lan.route]]\nto = \"198.51.100.0/24\"\nvia = \"192.0.2.254\"\n\
         [[networks.lan.route]]\nto = \"2001:db8:1::/48\"\nvia = \"2001:db8::fe\"",
    ),
    (
        "announced",
        "[networks.lan]\nports = [\"eno1\"]\naddress = \"192.0.2.10/24\"\n\
         router-advertisements = true\n\
         [networks.dmz]\nports = [\"eno2\"]\naddress = [\"dhcp\", \"2001:db8::10/64\"]\n\
         router-advertisements = false\n\
         [networks.six]\nports = [\"eno3\"]\nrouter-advertisements = true",
    ),
    (
        "mtu",
        "[networks.lan]\nports = [\"eno1\", \"eno2\"]\nbond = \"802.3ad\"\n\
         [networks.storage]\nports = [\"eno1\", \"eno2\"]\nbond = \"802.3ad\"\nvlan = 5\nmtu = 9000\n\
         [networks.apart]\nports = [\"eno3\"]",
    ),
    (
        "nat",
        "[networks.lan]\nports = [\"eno1\"]\naddress = [\"192.0.2.10/24\", \"2001:db8::10/64\"]\n\
         [networks.inside]\nnat = true\naddress = [\"10.20.0.1/24\", \"fd20::1/64\"]\n\
         [networks.four]\nnat = true\naddress = \"10.30.0.1/24\"\n\
         [[forward]]\nport = 8080\ndomU = \"web\"\nto-port = 80\n\
         [[forward]]\nprotocol = \"udp\"\nport = 53\ndomU = \"web\"",
    ),
    (
        "dhcp",
        "[dom0]\ndns = [\"192.0.2.53\", \"2001:db8::53\", \"192.0.2.54\"]\n\
         [networks.lan]\nports = [\"eno1\"]\naddress = \"dhcp\"\n\
         [networks.inside]\nnat = true\ndhcp = true\n\
         address = [\"10.20.0.1/24\", \"10.20.0.9/24\", \"fd20::1/64\"]\n\
         [[networks.inside.route]]\nto = \"10.21.0.0/16\"\nvia = \"10.20.0.7\"",
    ),
    (
        "dhcp-others",
        "[networks.lan]\nports = [\"eno1\"]\naddress = \"dhcp\"\n\
         [networks.inside]\nnat = true\ndhcp = true\naddress = \"10.20.0.1/24\"",
    ),
    (
        "firewall",
        "[firewall]\nssh-from = [\"192.0.2.0/24\", \"2001:db8::/32\", \"198.51.100.7\"]\n\
         allow = [\"tcp/9100 from 192.0.2.9\", \"udp/6000-6010\", \"tcp/443\"]",
    ),
];

/// The second address is db's second card's.
const HOSTS: &str = "10.20.0.5 web\nfd20::5 web\n10.20.0.200 db\n10.20.0.8 db\n192.0.2.7 db\n";

/// A domU of two cards on the network with NAT, and one elsewhere.
const DB: &str = "version = 1\nimage = \"web@1\"\n\
    [[network]]\nbridge = \"inside\"\nmac = \"00:16:3e:00:00:01\"\n\
    [[network]]\nbridge = \"lan\"\nmac = \"00:16:3e:00:00:02\"\n\
    [[network]]\nbridge = \"inside\"\nmac = \"00:16:3e:00:00:03\"\n";

#[test]
fn networks_are_rendered_as_expected() {
    for (name, networks) in CASES {
        let mut files = Files::new();
        files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
        let machine = "[machine]\nserial = \"A\"\nmemory = \"2GiB\"";
        let host = format!("version = 1\n{machine}\n{networks}");
        files.insert("pservers/alpha/host.toml", host.into());
        let domu = "version = 1\nimage = \"web@1\"\n[[network]]\nbridge = \"inside\"";
        if ["nat", "dhcp", "dhcp-others"].contains(&name) {
            files.insert("pservers/alpha/domUs/web.toml", domu.into());
            files.insert("images/web.toml", "version = 1\nrevision = 1".into());
            files.insert("global/hosts", HOSTS.into());
        }
        // In `dhcp-others` nobody is called db, so that its lines are of others.
        if name == "dhcp" {
            files.insert("pservers/alpha/domUs/db.toml", DB.into());
        }
        let fleet = load(&files).unwrap_or_else(|notes| panic!("{name}: {notes:#?}"));
        let text = render(&fleet.hosts["alpha"]).into_iter().map(|file| {
            let text = match file.contents {
                Contents::Text(text) => text,
                Contents::Link(target) => format!("-> {target}\n"),
            };
            format!("# {}\n{text}", file.path)
        });
        let text = text.collect::<Vec<_>>().join("\n");
        let golden = manifest_dir().join(format!("tests/golden/network/{name}.txt"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::create_dir_all(golden.parent().expect("a directory")).expect("made");
            fs::write(&golden, &text).expect("written");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(text, expected, "{name}");
    }
}

/// Whoever copies them from the manual gets a host that proves.
#[test]
fn examples_of_the_manual_are_right() {
    let manual = manifest_dir().join("../docs/manual/network.md");
    let manual = fs::read_to_string(manual).expect("the manual");
    let mut number = 0;
    for example in manual.split("```toml\n").skip(1) {
        let example = example.split("```").next().expect("an example");
        number += 1;
        let mut files = Files::new();
        files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
        let machine = "version = 1\nmachine = { serial = \"A\", memory = \"2GiB\" }";
        let host = format!("{machine}\n{example}");
        files.insert("pservers/alpha/host.toml", host.into());
        if example.contains("[[forward]]") {
            let domu = "version = 1\nimage = \"web@1\"\n[[network]]\nbridge = \"inside\"";
            files.insert("pservers/alpha/domUs/web.toml", domu.into());
            files.insert("images/web.toml", "version = 1\nrevision = 1".into());
            let hosts = manual
                .lines()
                .filter(|line| line.starts_with("    ") && line.ends_with(" web"));
            let hosts: Vec<&str> = hosts.map(str::trim).collect();
            assert_eq!(hosts.len(), 2, "{hosts:?}");
            files.insert("global/hosts", hosts.join("\n").into());
        }
        let problems = load(&files).err();
        assert!(problems.is_none(), "{example}\n{problems:#?}");
    }
    assert!(number >= 6, "{number} examples");
}
