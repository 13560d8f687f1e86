// SPDX-License-Identifier: GPL-3.0-or-later
//! Networks of hosts as systemd-networkd files, as golden files: all of a host in one, the path of
//! each above it. `UPDATE_EXPECTED=1 cargo test -p domus-model` writes them anew.

mod repository;

use domus_model::files::Files;
use domus_model::load::load;
use domus_model::network::render;
use domus_model::rendered::Contents;
use repository::manifest_dir;
use std::fs;

/// Networks in host.toml by the name of their golden file.
const CASES: [(&str, &str); 5] = [
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
];

#[test]
fn networks_are_rendered_as_expected() {
    for (name, networks) in CASES {
        let mut files = Files::new();
        files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
        let machine = "[machine]\nserial = \"A\"\nmemory = \"2GiB\"";
        let host = format!("version = 1\n{machine}\n{networks}");
        files.insert("pservers/alpha/host.toml", host.into());
        let fleet = load(&files).expect("a fleet");
        let text = render(&fleet.hosts["alpha"]).into_iter().map(|file| {
            let Contents::Text(text) = file.contents else {
                panic!("{} is a link", file.path);
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
