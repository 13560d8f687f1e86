// SPDX-License-Identifier: GPL-3.0-or-later
//! The generated layer of `/etc`: what follows from the documents, above the image's own files
//! and below everything an operator wrote.

use std::fmt::Write;

use uuid::Uuid;

use crate::fleet::{Config, DomU, Fleet, Host};
use crate::guest::{GuestConfig, GuestMount, Mounted};
use crate::names::Name;
use crate::network;
use crate::rendered::RenderedFile;
use crate::units::Mac;

/// Namespace of the UUIDs that Domus derives from names (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x4f4d_5553_6e61_4d65_8a3c_d0e5_5d0a_9e11);

/// Where the exported trees are seen by whoever runs on the machine.
pub const CONFIG_HOSTS: &str = "/config/global/hosts";

/// A domU waits for its disks: systemd's 90 s are over on a host that starts many, and a domU
/// without its volume would write to RAM.
const WAITS: &str = "x-systemd.device-timeout=infinity";
/// How a domU mounts its disks.
const VOLUME: &str = "nosuid,nodev,x-systemd.device-timeout=infinity";
/// systemd.mount(5).
const GROWS: &str = "x-systemd.growfs";

/// The same UUID for the same host or domU of the same fleet, for ever.
pub fn stable_uuid(fleet: &Name, kind: &str, name: &Name) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{fleet}/{kind}/{name}").as_bytes())
}

/// The UUID of a domU: its own, or the one derived from its name.
pub fn domu_uuid(fleet: &Name, domu: &DomU) -> Uuid {
    let derived = || stable_uuid(fleet, "domu", &domu.name);
    domu.uuid.unwrap_or_else(derived)
}

/// The address of card number `index` (from 0) of a domU that names none: locally administered
/// (IEEE 802), its other 46 bits derived from names, the same for ever.
pub fn derived_mac(fleet: &Name, domu: &Name, index: usize) -> Mac {
    let name = match index {
        0 => format!("{fleet}/mac/{domu}"),
        _ => format!("{fleet}/mac/{domu}/{index}"),
    };
    let digest = Uuid::new_v5(&NAMESPACE, name.as_bytes()).into_bytes();
    let [a, b, c, d, e, f, ..] = digest;
    Mac::local([a, b, c, d, e, f])
}

/// Generated files of a host. `has_hosts`: whether the commit has `global/hosts`.
pub fn for_host(fleet: &Fleet, host: &Host, has_hosts: bool) -> Vec<RenderedFile> {
    let mut files = common(&fleet.name, "host", &host.name, has_hosts);
    files.extend(network::render(host));
    files.extend(fleet.config.iter().flat_map(pull_timer));
    if host.storage.local.is_some() {
        files.push(RenderedFile::link(
            STORAGE,
            "/usr/lib/systemd/system/domus-storage.service",
        ));
    }
    files
}

/// Starts what prepares and mounts local disks.
const STORAGE: &str = "systemd/system/local-fs.target.wants/domus-storage.service";

/// The timer that takes new commits. Hosts that were switched on together do not look together.
fn pull_timer(config: &Config) -> [RenderedFile; 2] {
    const UNITS: &str = "systemd/system";
    let seconds = config.every.duration().as_secs();
    let jitter = seconds / 2;
    let timer = format!(
        "# [config] of domus.toml, by domus-boot\n\
         [Unit]\nDescription=Look for a new commit\n\n\
         [Timer]\nOnActiveSec={seconds}\nOnUnitInactiveSec={seconds}\n\
         RandomizedDelaySec={jitter}\nAccuracySec=1s\n"
    );
    let wanted = format!("{UNITS}/timers.target.wants/domus-pull.timer");
    [
        RenderedFile::new(format!("{UNITS}/domus-pull.timer"), timer),
        RenderedFile::link(wanted, "../domus-pull.timer"),
    ]
}

/// Generated files of a domU.
pub fn for_guest(guest: &GuestConfig, has_hosts: bool) -> Vec<RenderedFile> {
    let mut files = common(&guest.fleet, "domu", &guest.name, has_hosts);
    files.extend(fstab(guest));
    files
}

/// What a domU mounts and swaps to, if anything. A file system grows to the size of its disk each
/// time that it is mounted.
fn fstab(guest: &GuestConfig) -> Option<RenderedFile> {
    if guest.mounts.is_empty() && guest.swap.is_empty() {
        return None;
    }
    let mut fstab = String::from("# data disks of this domU, by domus-boot\n");
    for GuestMount { device, path, fs } in &guest.mounts {
        let rest = match fs {
            Mounted::Ext4 => format!("ext4 {VOLUME},{GROWS} 0 2"),
            Mounted::Xfs => format!("xfs {VOLUME},{GROWS} 0 0"),
            Mounted::Image => format!("auto ro,{VOLUME} 0 0"),
        };
        let _ = writeln!(fstab, "/dev/{device} {path} {rest}");
    }
    for device in &guest.swap {
        let _ = writeln!(fstab, "/dev/{device} none swap {WAITS} 0 0");
    }
    Some(RenderedFile::new("fstab", fstab))
}

fn common(fleet: &Name, kind: &str, name: &Name, has_hosts: bool) -> Vec<RenderedFile> {
    let id = stable_uuid(fleet, kind, name).simple();
    let mut files = vec![
        RenderedFile::new("hostname", format!("{name}\n")),
        RenderedFile::new("machine-id", format!("{id}\n")),
    ];
    if has_hosts {
        files.push(RenderedFile::link("hosts", CONFIG_HOSTS));
    }
    files
}

/// Where Domus may generate a file; what ends with `-` stands for all that begins with it.
const GENERATED: [&str; 13] = [
    "fstab",
    "hostname",
    "hosts",
    "machine-id",
    "nftables.conf",
    "resolv.conf",
    "systemd/network/50-domus-",
    "systemd/networkd.conf.d/50-domus.conf",
    "systemd/system/domus-pull.timer",
    STORAGE,
    "systemd/system/systemd-networkd-persistent-storage.service",
    "systemd/system/timers.target.wants/domus-pull.timer",
    "systemd/timesyncd.conf.d/50-domus.conf",
];

/// Whether Domus may generate `path` for some host or domU, or something in that directory.
pub(crate) fn may_generate(path: &str) -> bool {
    let below = format!("{path}/");
    GENERATED.iter().any(|generated| {
        *generated == path
            || generated.starts_with(&below)
            || generated.ends_with('-') && path.starts_with(generated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::fleet::{Follow, Policy};
    use crate::load::load;
    use crate::rendered::Contents;

    #[test]
    fn hosts_that_were_switched_on_together_do_not_look_together() {
        for every in ["10s", "11s", "5m", "7d"] {
            let [timer, _] = pull_timer(&Config {
                remote: "file:///x".to_owned(),
                follow: Follow::Targets,
                every: every.parse().expect("an interval"),
                host_key: None,
                apply: Policy::Live,
            });
            let Contents::Text(text) = timer.contents else {
                panic!("the timer is a file");
            };
            let seconds = |key: &str| -> u64 {
                let mut lines = text.lines().filter_map(|line| line.split_once('='));
                let (_, value) = lines.find(|line| line.0 == key).expect("a setting");
                let value = value.strip_suffix('s').unwrap_or(value);
                value.parse().expect("seconds")
            };
            // After boot as well as from then on, each time by another number of seconds.
            assert_eq!(seconds("OnActiveSec"), seconds("OnUnitInactiveSec"));
            assert!(!text.contains("FixedRandomDelay"), "{text}");
            let jitter = seconds("RandomizedDelaySec");
            assert!(jitter * 3 >= seconds("OnUnitInactiveSec"), "{text}");
            assert!(jitter * 2 <= seconds("OnUnitInactiveSec"), "{text}");
            // systemd must not bring together again what lies apart.
            assert!(seconds("AccuracySec") < jitter, "{text}");
        }
    }

    #[test]
    fn all_that_is_generated_is_known() {
        let mut files = Files::new();
        let domus = "version = 1\nfleet = \"small\"\nconfig.remote = \"file:///x\"";
        files.insert("domus.toml", domus.into());
        let host = "version = 1\nmachine = { serial = \"A\", memory = \"2GiB\" }\n\
                    dom0 = { dns = [\"192.0.2.53\"], ntp = [\"192.0.2.123\"] }\n\
                    networks.lan = { ports = [\"eno1\"], address = \"dhcp\" }\n\
                    networks.in = { nat = true, dhcp = true, address = \"10.20.0.1/24\" }\n\
                    storage.disks = [\"ata-A\"]";
        files.insert("pservers/alpha/host.toml", host.into());
        let domu = "version = 1\nimage = \"base@1\"\n[[disk]]\nname = \"data\"\n\
                    size = \"1GiB\"\nmount = \"/srv\"";
        files.insert("pservers/alpha/domUs/web.toml", domu.into());
        files.insert("images/base.toml", "version = 1\nrevision = 1".into());
        let fleet = load(&files).expect("a fleet");
        let alpha = &fleet.hosts["alpha"];
        let guest = GuestConfig::new(&fleet.name, &alpha.domus["web"], "");
        let all = [for_host(&fleet, alpha, true), for_guest(&guest, true)];
        let all: Vec<RenderedFile> = all.into_iter().flatten().collect();
        assert!(all.len() > 15, "{all:?}");
        for file in all {
            assert!(may_generate(&file.path), "{}", file.path);
        }
        for (path, expected) in [
            ("systemd/system/timers.target.wants", true),
            ("systemd/network/50-domus-lan.network", true),
            ("systemd/network/10-lan.network", false),
            ("host", false),
        ] {
            assert_eq!(may_generate(path), expected, "{path}");
        }
    }
}
