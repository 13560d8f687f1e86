// SPDX-License-Identifier: GPL-3.0-or-later
//! What a difference means for what runs. A setting that has no rule here waits for a reboot:
//! nothing is called harmless that nobody has thought about.

use super::deeds::Deed;
use super::{Difference, Impact};
use crate::fleet::DomU;
use crate::network::LEASES;
use std::cmp::Ordering;

/// A rule's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) impact: Impact,
    /// Why it is not less.
    pub(super) reason: Option<String>,
    /// What is run then.
    pub(super) does: Vec<Deed>,
}

impl Rule {
    /// With this reason, unless it is empty; nothing is run.
    pub(super) fn new(impact: Impact, reason: &str) -> Self {
        Self {
            impact,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            does: Vec::new(),
        }
    }

    fn runs(self, deeds: &[Deed]) -> Self {
        Self {
            does: deeds.to_vec(),
            ..self
        }
    }
}

fn rule(impact: Impact, reason: &str) -> Rule {
    Rule::new(impact, reason)
}

/// The timer by which a host looks for new commits.
const TIMER: &str = "domus-pull.timer";
/// Who makes networks.
const NETWORKD: &str = "systemd-networkd.service";

/// Who sets the clock.
const TIMESYNCD: &str = "systemd-timesyncd.service";

/// Of a setting of the host itself.
pub(super) fn of_host(path: &[&str]) -> Rule {
    match path {
        ["name"] => rule(Impact::HostReboot, "its name is its identity"),
        ["release"] => rule(Impact::HostReboot, "it boots another release"),
        ["machine", "memory" | "cpus"] => rule(Impact::Live, "only what check counts with"),
        ["machine", "console"] => rule(
            Impact::Live,
            "only media that are built from now on have it",
        ),
        ["machine", "key"] => rule(Impact::Live, "only whom secrets are encrypted for"),
        ["machine", ..] => rule(
            Impact::HostReboot,
            "the boot goes by it, and by the marker on the config partition, which must agree",
        ),
        // What these mean is seen in /etc and in domUs.
        ["groups" | "vars", ..] => rule(Impact::Live, ""),
        ["health", ..] => rule(Impact::Live, "it counts when a generation is judged"),
        // Written in a table, and in `Host` beside the domUs, which are what `domUs` is there.
        ["domUs", "strays"] | ["domUs.strays"] => {
            rule(Impact::Live, "it counts for domains that run already, too")
        }
        ["dom0", "memory"] => rule(Impact::Live, ""),
        ["dom0", "dns"] => rule(Impact::Live, "programs that run may ask the old ones on"),
        ["dom0", "ntp"] => rule(Impact::Service, "systemd-timesyncd is restarted")
            .runs(&[Deed::Restart(TIMESYNCD.to_owned())]),
        ["dom0", "vcpus"] => rule(Impact::Live, "its kernel takes CPUs and gives them back"),
        ["dom0", "weight"] => rule(Impact::Live, "Xen's scheduler is told"),
        ["networks", _, "vlan"] => rule(
            Impact::HostReboot,
            "an interface has the VLAN with which it was made",
        ),
        ["networks", _, "bond"] => rule(
            Impact::HostReboot,
            "a bond has the mode with which it was made",
        ),
        ["networks", _, "lease" | "kept-out", ..] => of_given(),
        ["networks", ..] => rule(
            Impact::Service,
            "systemd-networkd and nftables are reloaded; what networkd made it does not remove",
        )
        .runs(&[Deed::ReadNetworks, Deed::ReadFirewall]),
        ["firewall" | "forward", ..] => {
            rule(Impact::Service, "nftables is reloaded; connections go on")
                .runs(&[Deed::ReadFirewall])
        }
        ["storage", "erase"] => rule(
            Impact::HostReboot,
            "disks are prepared when the host boots: what it names is erased then",
        ),
        ["storage", "var" | "tmp" | "swap"] => rule(
            Impact::HostReboot,
            "it is made when the host boots, once: what is there keeps its size",
        ),
        ["storage", "config"] => rule(
            Impact::HostReboot,
            "the partition is made when a disk is prepared: one that was keeps what it has",
        ),
        ["storage", "disks" | "mirror" | "volume-group"] => rule(
            Impact::HostReboot,
            "disks are prepared and mounted when the host boots",
        ),
        ["storage", "domUs", ..] => rule(Impact::Live, "volumes stay where they are"),
        _ => rule(Impact::HostReboot, ""),
    }
}

/// Of the families that a host routes, which is in networkd.conf.
pub(super) fn of_routing() -> Rule {
    rule(
        Impact::Service,
        "systemd-networkd is restarted; where nothing is routed any more, nftables drops it",
    )
    .runs(&[Deed::Restart(NETWORKD.to_owned())])
}

/// Of what a DHCP server gives.
pub(super) fn of_given() -> Rule {
    rule(
        Impact::Service,
        "systemd-networkd is reloaded; domUs that run have it within minutes",
    )
    .runs(&[Deed::ReadNetworks])
}

/// Of a host that becomes a DHCP server, or is one no more.
pub(super) fn of_dhcp_server(starts: bool) -> Rule {
    let unit = LEASES.to_owned();
    let (reason, deed) = match starts {
        true => ("systemd-networkd keeps what it gives", Deed::Start(unit)),
        false => ("systemd-networkd keeps nothing more", Deed::Stop(unit)),
    };
    rule(Impact::Service, reason).runs(&[Deed::ReadUnits, deed])
}

/// Of what the fleet has for its hosts.
pub(super) fn of_fleet(path: &[&str], difference: &Difference) -> Option<Rule> {
    let timer = || TIMER.to_owned();
    Some(match path {
        ["name"] => rule(Impact::HostReboot, "a release runs hosts of one fleet only"),
        // What each host boots is seen in that.
        ["release", "version"] => return None,
        ["release", "least-serial"] => rule(Impact::Live, "only what a release that is built says"),
        ["release", ..] | ["debian", "suite"] => {
            rule(Impact::HostReboot, "it is another release: build its ISO")
        }
        ["config"] if difference.from.is_none() => {
            rule(Impact::Service, "hosts begin to look for commits")
                .runs(&[Deed::ReadUnits, Deed::Start(timer())])
        }
        ["config"] => rule(Impact::Service, "hosts look for commits no more")
            .runs(&[Deed::ReadUnits, Deed::Stop(timer())]),
        ["config", "every"] => rule(Impact::Service, "the timer is restarted")
            .runs(&[Deed::ReadUnits, Deed::Restart(timer())]),
        ["config", "apply"] => rule(Impact::Live, "it counts for this commit already"),
        ["config", ..] => rule(Impact::Live, "it counts when hosts look next"),
        // What is built of them is named by each domU; who may open secrets is in the secrets;
        // what names stand for matters where somebody runs it.
        ["debian" | "images" | "operators" | "groups" | "locked", ..] => return None,
        _ => rule(Impact::HostReboot, ""),
    })
}

/// Of a setting of a domU that is there before and after: `sides`, where these count.
pub(super) fn of_domu(path: &[&str], sides: Option<(&DomU, &DomU)>) -> Rule {
    match path {
        ["after" | "delay"] => rule(Impact::Live, "it counts when it starts next"),
        ["autostart"] => rule(Impact::Live, "what runs goes on, what was stopped stays so"),
        ["restart"] => rule(Impact::Live, "it counts when it ends"),
        ["health"] => rule(Impact::DomuRefresh, ""),
        ["stop-timeout"] => rule(Impact::Live, "it counts when it is shut down next"),
        ["console-log"] => rule(Impact::Live, ""),
        ["may-run-on"] => rule(Impact::Live, "nothing moves it by itself"),
        ["moved-from"] => rule(Impact::Live, "it counts when it starts next"),
        ["vars", ..] => rule(Impact::Live, ""),
        ["memory" | "max-memory"] => match sides.is_some_and(has_same(DomU::most_memory)) {
            true => rule(Impact::Live, "its balloon moves"),
            false => rule(
                Impact::DomuRestart,
                "Xen gives a domU its most memory when it starts",
            ),
        },
        ["vcpus" | "max-vcpus"] => match sides.is_some_and(has_same(DomU::most_vcpus)) {
            true => rule(Impact::Live, "they come and go while it runs"),
            false => rule(
                Impact::DomuRestart,
                "Xen gives a domU its most processors when it starts",
            ),
        },
        ["pin" | "weight" | "cap"] => rule(Impact::Live, "Xen's scheduler is told"),
        ["kernel-args"] => rule(Impact::DomuRestart, "its kernel reads them when it starts"),
        ["clock"] => rule(Impact::DomuRestart, "its clock is set when it starts"),
        ["pci"] => rule(Impact::DomuRestart, "devices are joined when it starts"),
        ["kind"] => rule(Impact::DomuRestart, "another kind of domain"),
        ["image"] => rule(Impact::DomuRestart, "it starts from another root"),
        ["foreign"] => rule(Impact::DomuRestart, "it boots another way"),
        ["uuid"] => rule(
            Impact::DomuRecreate,
            "to Xen and libvirt it is another domU",
        ),
        ["network", ..] => rule(Impact::DomuRestart, "cards are joined when it starts"),
        ["disk", name, "size"] => of_size(name, sides),
        ["disk", _, "fs"] => rule(
            Impact::DomuRestart,
            "a disk is made once: what it holds stays, and must be that",
        ),
        ["disk", _, "volume" | "device"] => {
            rule(Impact::DomuRecreate, "its data stays on the other")
        }
        ["disk", "order"] => rule(Impact::DomuRestart, "devices are counted in their order"),
        ["disk", ..] => rule(Impact::DomuRestart, "disks are joined when it starts"),
        _ => rule(Impact::DomuRestart, ""),
    }
}

/// Whether both sides have the same of something.
fn has_same<T: PartialEq>(of: fn(&DomU) -> T) -> impl Fn((&DomU, &DomU)) -> bool {
    move |(from, to)| of(from) == of(to)
}

/// Of the size of a disk.
fn of_size(name: &str, sides: Option<(&DomU, &DomU)>) -> Rule {
    let size = |domu: &DomU| {
        let mut disks = domu.disks.iter();
        let disk = disks.find(|disk| disk.name.as_str() == name)?;
        disk.backing.size()
    };
    let sizes = sides.and_then(|(from, to)| size(from).zip(size(to)));
    match sizes.map(|(from, to)| from.cmp(&to)) {
        Some(Ordering::Less) => rule(
            Impact::Live,
            "the volume grows, and its file system when it is mounted next",
        ),
        Some(_) => rule(
            Impact::Live,
            "refused: no volume is made smaller; write the size that it has",
        ),
        // It is a volume now, or none any more, which has a rule of its own.
        None => rule(Impact::Live, "only volumes are made with a size"),
    }
}

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
                let found = match kind {
                    // What it has for domUs is seen in those.
                    "host" if path[0] != "domU" => of_host(&path),
                    "domU" => of_domu(&path, None),
                    _ => continue,
                };
                let unknown = [rule(Impact::HostReboot, ""), rule(Impact::DomuRestart, "")];
                assert!(!unknown.contains(&found), "{kind} {path:?}");
            }
        }
    }
}
