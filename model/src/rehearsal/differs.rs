// SPDX-License-Identifier: GPL-3.0-or-later
//! What of a rehearsed machine is not as the real one has it.

use crate::fleet::{Backing, Host, VolumePool};
use crate::names::Port;
use crate::units::Size;
use serde::Serialize;

/// Something that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about: `memory`, `network`, `disk`, `config`, `identity`.
    pub about: &'static str,
    /// What the host has.
    pub host: String,
    /// What the rehearsed machine has instead.
    pub rehearsed: String,
}

/// How the machine is made up.
#[derive(Debug, Clone, Copy)]
pub struct SetUp<'a> {
    /// Its memory.
    pub memory: Size,
    /// Whether it has the host's own SSH key.
    pub has_key: bool,
    /// Whether it boots a medium with a config partition of its own.
    pub is_medium: bool,
    /// Its blank disks.
    pub blank_disks: &'a [Size],
}

/// What differs, in the order in which a boot meets it.
pub fn differs(host: &Host, set_up: &SetUp<'_>) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut add = |about, host: String, rehearsed: &str| {
        all.push(Difference {
            about,
            host,
            rehearsed: rehearsed.to_owned(),
        });
    };
    let memory = host.machine.memory;
    if memory != set_up.memory {
        add("memory", memory.to_string(), &set_up.memory.to_string());
    }
    let config = match set_up.is_medium {
        true => "that of the medium, and what is written to it is forgotten",
        false => "a disk made for this rehearsal: no state and no data of before",
    };
    add("config", "its own partition".to_owned(), config);
    match (&host.machine.key, set_up.has_key) {
        (_, true) => {}
        (Some(_), false) => add(
            "identity",
            "its SSH key, which opens its secrets".to_owned(),
            "a key made at boot: no secret is opened (--host-key)",
        ),
        (None, false) => add("identity", "its SSH key".to_owned(), "a key made at boot"),
    }
    for (name, network) in &host.networks {
        for port in &network.ports {
            let is_named = match port {
                Port::Named(name) => name
                    .strip_prefix("eno")
                    .is_some_and(|number| number.parse::<u32>().is_ok()),
                Port::Mac(_) => true,
            };
            let tag = network.vlan.map(|vlan| format!(", VLAN {vlan}"));
            let tag = tag.unwrap_or_default();
            let bond = network.bond.map(|bond| format!(", {bond}"));
            let bond = bond.unwrap_or_default();
            let rehearsed = match (is_named, &network.vlan) {
                (_, Some(_)) => "a card on which nobody answers",
                (true, None) if network.bond.is_some() => {
                    "a card of that name whose other end is in no bond"
                }
                (true, None) => "a card of that name that reaches nothing outside",
                (false, None) => "a card of another name: nothing is joined to the bridge",
            };
            add("network", format!("{name} on {port}{bond}{tag}"), rehearsed);
        }
    }
    let blank: Vec<String> = set_up.blank_disks.iter().map(Size::to_string).collect();
    let blank = match blank.is_empty() {
        true => "nothing: its domUs do not start (--blank-disk)".to_owned(),
        false => format!("blank disks: {}", blank.join(", ")),
    };
    if let VolumePool::VolumeGroup(group) = &host.storage.domus {
        add("disk", format!("volume group {group}"), &blank);
    }
    for disk in host.storage.local.iter().flat_map(|local| &local.disks) {
        let nothing = "nothing of that name: what it would hold is in RAM";
        add("disk", format!("{disk} of [storage]"), nothing);
    }
    for (name, domu) in &host.domus {
        for disk in &domu.disks {
            if let Backing::Device { path } = &disk.backing {
                let nothing = "nothing of that name: the domU does not start";
                add("disk", format!("{path} of {name}"), nothing);
            }
        }
    }
    all
}

/// They as a table, without a header.
pub fn render(differences: &[Difference]) -> String {
    let width = |of: fn(&Difference) -> &str| {
        let widths = differences.iter().map(|it| of(it).chars().count());
        widths.max().unwrap_or_default()
    };
    let (about, host) = (width(|it| it.about), width(|it| &it.host));
    let line = |it: &Difference| {
        let (what, real, instead) = (it.about, &it.host, &it.rehearsed);
        format!("  {what:<about$}  {real:<host$}  {instead}\n")
    };
    differences.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::load::load;

    const HOST: &str = "version = 1\n[machine]\nserial = \"8QXK\"\nmemory = \"64GiB\"\n\
        [networks.lan]\nports = [\"eno1\", \"enp3s0\"]\n\
        [networks.dmz]\nports = [\"eno1\"]\nvlan = 20\n\
        [storage]\ndisks = [\"ata-A\"]\ndomUs = { volume-group = \"vg0\" }\n";

    fn host() -> Host {
        let mut files = Files::new();
        files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
        files.insert("pservers/alpha/host.toml", HOST.into());
        let domu = "version = 1\nimage = \"web@1\"\n\
            [[disk]]\nname = \"lun\"\ndevice = \"/dev/disk/by-id/wwn-0x5000c500a0b1c2d3\"\n";
        files.insert("pservers/alpha/domUs/web.toml", domu.into());
        files.insert("images/web.toml", "version = 1\nrevision = 1".into());
        let fleet = load(&files).expect("a fleet");
        fleet.hosts["alpha"].clone()
    }

    #[test]
    fn everything_that_is_not_as_in_hardware_is_said() {
        let host = host();
        let set_up = SetUp {
            memory: Size::from_mib(1200),
            has_key: false,
            is_medium: false,
            blank_disks: &[],
        };
        assert_eq!(
            render(&differs(&host, &set_up)),
            include_str!("../../tests/golden/differs.txt")
        );
        let nearer = SetUp {
            memory: host.machine.memory,
            has_key: true,
            is_medium: true,
            blank_disks: &[Size::from_mib(512)],
        };
        let text = render(&differs(&host, &nearer));
        assert!(
            !text.contains("memory") && !text.contains("identity"),
            "{text}"
        );
        assert!(text.contains("blank disks: 512MiB"), "{text}");
        assert!(text.contains("that of the medium"), "{text}");
    }
}
