// SPDX-License-Identifier: GPL-3.0-or-later
//! What a difference means for what runs. A setting that has no rule here waits for a reboot:
//! nothing is called harmless that nobody has thought about.

use super::Impact;
use std::cmp::Ordering;

/// A rule's word: the impact, and why it is not less.
pub(super) type Rule = (Impact, Option<String>);

fn rule(impact: Impact, reason: &str) -> Rule {
    (impact, Some(reason.to_owned()))
}

/// Of a setting of the host itself.
pub(super) fn of_host(path: &[&str]) -> Rule {
    match path {
        ["name"] => rule(Impact::HostReboot, "its name is its identity"),
        ["release"] => rule(Impact::HostReboot, "it boots another release"),
        ["machine", "memory"] => rule(Impact::Live, "only what check counts with"),
        ["machine", "key"] => rule(Impact::Live, "only whom secrets are encrypted for"),
        ["machine", ..] => rule(
            Impact::HostReboot,
            "the boot goes by it, and by the marker on the config partition, which must agree",
        ),
        // What these mean is seen in /etc and in domUs.
        ["groups" | "vars", ..] => (Impact::Live, None),
        ["dom0", "memory"] => (Impact::Live, None),
        ["dom0", "vcpus"] => rule(Impact::Live, "no release applies it yet"),
        ["networks", _, "vlan"] => rule(
            Impact::HostReboot,
            "an interface has the VLAN with which it was made",
        ),
        ["networks", ..] => rule(Impact::Service, "systemd-networkd is reloaded"),
        ["storage", "domUs", ..] => rule(Impact::Live, "volumes stay where they are"),
        _ => (Impact::HostReboot, None),
    }
}

/// Of what the fleet has for its hosts.
pub(super) fn of_fleet(path: &[&str]) -> Option<Rule> {
    Some(match path {
        ["name"] => rule(Impact::HostReboot, "a release runs hosts of one fleet only"),
        // What each host boots is seen in that.
        ["release", "version"] => return None,
        ["release", "least-serial"] => rule(Impact::Live, "only what a release that is built says"),
        ["release", ..] | ["debian", "suite"] => {
            rule(Impact::HostReboot, "it is another release: build its ISO")
        }
        ["config", ..] => rule(Impact::Live, "it counts when hosts look next"),
        // What is built of them is named by each domU; who may open secrets is in the secrets;
        // what names stand for matters where somebody runs it.
        ["debian" | "images" | "operators" | "groups" | "locked", ..] => return None,
        _ => (Impact::HostReboot, None),
    })
}

/// Of a setting of a domU that is there before and after. `size`: how that of a disk changes.
pub(super) fn of_domu(path: &[&str], size: Option<Ordering>) -> Rule {
    match path {
        ["after"] => rule(Impact::Live, "it counts when it starts next"),
        ["may-run-on"] => rule(Impact::Live, "nothing moves it by itself"),
        ["vars", ..] => (Impact::Live, None),
        ["memory"] => rule(
            Impact::DomuRestart,
            "Xen gives a domU its most memory when it starts",
        ),
        ["vcpus"] => rule(
            Impact::DomuRestart,
            "Xen gives a domU its processors when it starts",
        ),
        ["kind"] => rule(Impact::DomuRestart, "another kind of domain"),
        ["image"] => rule(Impact::DomuRestart, "it starts from another root"),
        ["uuid"] => rule(
            Impact::DomuRecreate,
            "to Xen and libvirt it is another domU",
        ),
        ["network", ..] => rule(Impact::DomuRestart, "cards are joined when it starts"),
        ["disk", _, "size"] => match size {
            Some(Ordering::Less) => rule(
                Impact::Live,
                "volumes are made once: enlarge it and its file system by hand",
            ),
            Some(_) => rule(
                Impact::Live,
                "volumes are made once, and none is made smaller",
            ),
            // It is a volume now, or none any more, which has a rule of its own.
            None => rule(Impact::Live, "only volumes are made with a size"),
        },
        ["disk", _, "volume" | "device"] => {
            rule(Impact::DomuRecreate, "its data stays on the other")
        }
        ["disk", "order"] => rule(Impact::DomuRestart, "devices are counted in their order"),
        ["disk", ..] => rule(Impact::DomuRestart, "disks are joined when it starts"),
        _ => (Impact::DomuRestart, None),
    }
}

/// Of a file in `/etc` of a host, by its path below that.
pub(super) fn of_host_file(path: &str) -> Rule {
    for (prefix, impact, reason) in FILES {
        if path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || prefix.ends_with('.'))
        {
            return match *reason {
                "" => (*impact, None),
                reason => rule(*impact, reason),
            };
        }
    }
    (Impact::Live, None)
}

/// Files of dom0 that somebody reads only once, and who. Those that are read each time they are
/// needed are live.
const FILES: &[(&str, Impact, &str)] = &[
    (
        "systemd/network/",
        Impact::Service,
        "systemd-networkd is reloaded",
    ),
    (
        "systemd/networkd.conf",
        Impact::Service,
        "systemd-networkd is restarted",
    ),
    (
        "systemd/journald.conf",
        Impact::Service,
        "systemd-journald is restarted",
    ),
    (
        "systemd/timesyncd.conf",
        Impact::Service,
        "systemd-timesyncd is restarted",
    ),
    (
        "systemd/resolved.conf",
        Impact::Service,
        "systemd-resolved is restarted",
    ),
    (
        "systemd/system.conf",
        Impact::HostReboot,
        "systemd reads it when it starts",
    ),
    (
        "systemd/system/",
        Impact::Service,
        "systemd reads its units anew",
    ),
    ("ssh/sshd_config", Impact::Service, "ssh is reloaded"),
    ("ssh/sshd_config.d/", Impact::Service, "ssh is reloaded"),
    ("nftables.", Impact::Service, "nftables is reloaded"),
    ("sysctl.", Impact::Service, "systemd-sysctl is restarted"),
    (
        "udev/rules.d/",
        Impact::Service,
        "udev reads its rules anew",
    ),
    (
        "libvirt/",
        Impact::Service,
        "libvirtd is restarted; domUs go on",
    ),
    (
        "xen/",
        Impact::HostReboot,
        "Xen's daemons cannot be restarted",
    ),
    (
        "default/xen",
        Impact::HostReboot,
        "Xen's daemons cannot be restarted",
    ),
    (
        "modules-load.d/",
        Impact::HostReboot,
        "modules are loaded at boot",
    ),
    (
        "modprobe.d/",
        Impact::HostReboot,
        "modules are loaded at boot",
    ),
    (
        "fstab",
        Impact::HostReboot,
        "file systems are mounted at boot",
    ),
    (
        "crypttab",
        Impact::HostReboot,
        "file systems are mounted at boot",
    ),
    ("hostname", Impact::HostReboot, "it is read at boot"),
    ("machine-id", Impact::HostReboot, "it is read at boot"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{Keys, Shape, describe};

    fn paths(keys: &Keys, above: &[&'static str], found: &mut Vec<Vec<&'static str>>) {
        for key in keys {
            let path = [above, &[key.name]].concat();
            match &key.shape {
                Shape::Table(keys) => paths(keys, &path, found),
                Shape::Tables(keys) | Shape::Named(_, keys) => {
                    paths(keys, &[&path[..], &["x"]].concat(), found);
                    found.push([&path[..], &["x"]].concat());
                }
                _ => found.push(path),
            }
        }
    }

    #[test]
    fn every_setting_has_a_rule() {
        for (kind, keys) in describe() {
            let mut all = Vec::new();
            paths(&keys, &[], &mut all);
            all.retain(|path| path[0] != "version");
            for path in all {
                let rule = match kind {
                    // What it has for domUs is seen in those.
                    "host" if path[0] != "domU" => of_host(&path),
                    "domU" => of_domu(&path, None),
                    _ => continue,
                };
                let unknown = [(Impact::HostReboot, None), (Impact::DomuRestart, None)];
                assert!(!unknown.contains(&rule), "{kind} {path:?}");
            }
        }
    }

    #[test]
    fn files_that_are_read_once_are_known() {
        let cases = [
            ("motd", Impact::Live),
            ("ssh/sshd_config", Impact::Service),
            ("ssh/sshd_config.d/x.conf", Impact::Service),
            ("ssh/ssh_config", Impact::Live),
            ("nftables.conf", Impact::Service),
            ("fstab", Impact::HostReboot),
            ("fstab.d/x", Impact::Live),
            ("xen/xl.conf", Impact::HostReboot),
        ];
        for (path, impact) in cases {
            assert_eq!(of_host_file(path).0, impact, "{path}");
        }
    }
}
