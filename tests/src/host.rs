// SPDX-License-Identifier: GPL-3.0-or-later
//! A dom0 over SSH: what runs there, and what was left of what ran.

use crate::fleet::WITNESS;
use crate::rehearsal::domu;
use crate::ssh::Ssh;
use std::collections::{BTreeMap, BTreeSet};

/// What a domU takes of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Numbers of domains by name, dom0's too, as XenStore has them.
    pub domains: BTreeMap<String, u32>,
    /// Names below `/vm` in XenStore.
    vms: BTreeSet<String>,
    /// Devices of domains in XenStore: `vbd/3/51712`.
    devices: BTreeSet<String>,
    /// Loop devices with their files.
    loops: BTreeMap<String, String>,
    /// Interfaces of guests.
    vifs: BTreeSet<String>,
}

const DOMAINS: &str = "for id in $(xenstore-list /local/domain); do \
    echo $id $(xenstore-read /local/domain/$id/name); done";
const DEVICES: &str = "cd /; for kind in vbd vif console; do \
    for id in $(xenstore-list /local/domain/0/backend/$kind 2>/dev/null); do \
    for device in $(xenstore-list /local/domain/0/backend/$kind/$id); do \
    echo $kind/$id/$device; done; done; done";

/// Looks at the host.
///
/// # Panics
/// It does not answer.
pub fn traces(ssh: &Ssh) -> Traces {
    let set = |text: &str| text.lines().map(str::to_owned).collect();
    let pairs = |text: String| {
        let pair = |line: &str| {
            let (key, value) = line.trim().split_once(' ').expect("two words");
            (value.trim().to_owned(), key.to_owned())
        };
        text.lines().map(pair).collect::<Vec<_>>()
    };
    let domains = pairs(ssh.ok(DOMAINS)).into_iter();
    let loops = pairs(ssh.ok("losetup --noheadings --list --output BACK-FILE,NAME"));
    Traces {
        domains: domains
            .map(|(name, id)| (name, id.parse().expect("a number")))
            .collect(),
        vms: set(&ssh.ok("xenstore-list /vm")),
        devices: set(&ssh.ok(DEVICES)),
        loops: loops.into_iter().collect(),
        vifs: set(&ssh.ok("ls /sys/class/net | grep ^vif || true")),
    }
}

impl Traces {
    /// Whether these are what is left of `before` once the domU `name` is gone: nothing of it,
    /// and all the rest.
    pub fn is_without(&self, name: &str, before: &Self) -> bool {
        let Some(id) = before.domains.get(name) else {
            return false;
        };
        let own = format!("/{name}/");
        let volume = format!("/{name}.");
        let mut left = before.clone();
        left.domains.remove(name);
        left.devices
            .retain(|device| device.split('/').nth(1) != Some(&id.to_string()));
        left.vifs
            .retain(|vif| !vif.starts_with(&format!("vif{id}.")));
        left.loops
            .retain(|_, file| !file.contains(&own) && !file.contains(&volume));
        left.vms.clone_from(&self.vms);
        left == *self && self.vms.len() + 1 == before.vms.len()
    }

    /// How much there is of each kind.
    pub fn counts(&self) -> [usize; 5] {
        let Self {
            domains,
            vms,
            devices,
            loops,
            vifs,
        } = self;
        [
            domains.len(),
            vms.len(),
            devices.len(),
            loops.len(),
            vifs.len(),
        ]
    }

    /// Files on loop devices.
    pub fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = self.loops.values().map(String::as_str).collect();
        files.sort_unstable();
        files
    }
}

/// The command that prints what never changes of the ext4 on `volume`: two lines.
pub fn identity(volume: &str) -> String {
    format!("dumpe2fs -h {volume} 2>/dev/null | grep -E '^Filesystem (UUID|created):'")
}

/// What the guest that owns the ext4 on `volume` has left there, see [`crate::fleet::WITNESS`].
///
/// # Panics
/// It is not there, or the file system was not unmounted.
#[track_caller]
pub fn witness(ssh: &Ssh, volume: &str) -> String {
    let header = ssh.ok(&format!("dumpe2fs -h {volume} 2>/dev/null"));
    assert!(
        header.contains("Filesystem state:         clean") && !header.contains("needs_recovery"),
        "the guest unmounted it: {header}"
    );
    ssh.ok(&format!("debugfs -R 'cat {WITNESS}' {volume} 2>/dev/null"))
}

/// Waits until each of these domUs says that it is up.
///
/// # Panics
/// One does not, within minutes.
#[track_caller]
pub fn wait_until_up(ssh: &Ssh, names: &[&str]) {
    let mut status = serde_json::Value::Null;
    for _ in 0..4 {
        status = ssh.status();
        if names
            .iter()
            .all(|name| domu(&status, name)["state"] == "up")
        {
            return;
        }
    }
    panic!("not all up: {status:#}");
}
