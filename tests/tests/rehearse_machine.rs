// SPDX-License-Identifier: GPL-3.0-or-later
//! The machine that a rehearsal starts: whatever host.toml says, it reaches nothing outside.

use domus_iso::rehearse::{Accelerator, Machine, Medium};
use domus_model::fleet::Fleet;
use domus_model::rehearsal::Firmware;
use domus_tests::workspace;
use std::path::PathBuf;

/// The template's fleet, with this for what `[networks.lan]` says.
fn fleet(networks: &str) -> Fleet {
    let mut files = domus_system::documents::read(&workspace().join("config-repo-template"))
        .expect("the template");
    let path = "pservers/alpha/host.toml";
    let host = String::from_utf8_lossy(files.content(path)).into_owned();
    let begin = host.find("[networks.lan]").expect("a network");
    files.insert(path, format!("{}{networks}", &host[..begin]).into_bytes());
    domus_model::load::load(&files).expect("a fleet")
}

/// The value of every option `name`.
fn values<'a>(arguments: &'a [String], name: &str) -> Vec<&'a str> {
    let pairs = arguments.windows(2).filter(|pair| pair[0] == name);
    pairs.map(|pair| pair[1].as_str()).collect()
}

#[test]
fn it_reaches_nothing_outside() {
    for (networks, cards) in [
        (
            "[networks.lan]\nports = [\"eno1\"]\naddress = \"dhcp\"\n",
            1,
        ),
        (
            "[networks.lan]\nports = [\"eno1\", \"enp3s0\"]\naddress = \"192.0.2.10/24\"\n\
             gateway = \"192.0.2.1\"\n[networks.dmz]\nports = [\"eno2\"]\n",
            3,
        ),
        ("[networks.lan]\n", 0),
    ] {
        let fleet = fleet(networks);
        for (firmware, medium) in [
            (Firmware::Bios, Medium::Cd),
            (Firmware::Uefi, Medium::Usb),
            (Firmware::Bios, Medium::Usb),
        ] {
            let machine = Machine {
                host: fleet.hosts.values().next().expect("alpha"),
                firmware,
                medium,
                accelerator: Accelerator::Tcg,
                iso: PathBuf::from("/a,b.iso"),
                disks: vec![PathBuf::from("/disk")],
                dir: PathBuf::from("/dir"),
                ssh_port: 2222,
                memory_mib: 512,
            };
            let arguments = machine.arguments();
            assert_holds(&arguments, cards);
        }
    }
}

fn assert_holds(arguments: &[String], cards: usize) {
    // Without it QEMU adds a network card by itself, which leads outside.
    assert!(arguments.contains(&"-nodefaults".to_owned()));
    assert!(values(arguments, "-nic").is_empty() && values(arguments, "-net").is_empty());
    let networks = values(arguments, "-netdev");
    assert_eq!(networks.len(), cards, "{arguments:?}");
    for network in &networks {
        assert!(network.starts_with("user,"), "{network}");
        assert!(
            network.split(',').any(|word| word == "restrict=on"),
            "{network}"
        );
    }
    let doors: Vec<&str> = networks
        .iter()
        .flat_map(|network| network.split(','))
        .filter(|word| word.starts_with("hostfwd=") || word.starts_with("guestfwd="))
        .collect();
    assert_eq!(
        doors.len(),
        cards.min(1),
        "SSH on the first card: {doors:?}"
    );
    for door in doors {
        assert!(door.starts_with("hostfwd=tcp:127.0.0.1:2222-"), "{door}");
    }
    // The release is never written to, and a comma in a path is no option.
    let isos = values(arguments, "-drive");
    let iso = isos.iter().find(|drive| drive.contains("id=iso"));
    let iso = iso.expect("the ISO's drive");
    assert!(
        iso.contains("readonly=on") && iso.ends_with("file=/a,,b.iso"),
        "{iso}"
    );
}
