// SPDX-License-Identifier: GPL-3.0-or-later
//! What is kept of each host for domUs that may run there, found by name and by group.

use crate::documents::{HostDocs, Shared};
use crate::lower;
use crate::names::{Hosts, Name};
use crate::secrets::SshKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What neighbours often have alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outfit {
    groups: Vec<Name>,
    networks: Vec<Name>,
}

/// What others have to know of a host.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    /// None of one whose document cannot be read, of which nothing is proved.
    pub(super) outfit: Option<Arc<Outfit>>,
    /// What dom0 leaves, in MiB; as much as there can be where that cannot be said.
    pub(super) most: u64,
    /// What its own domUs leave of that.
    pub(super) left: u64,
    /// Its logical CPUs; as many as there can be where that cannot be said.
    pub(super) cpus: u32,
    pub(super) key: Option<SshKey>,
}

impl Seen {
    /// The host of these documents. `last`: what another has, to be shared if it is the same.
    pub(super) fn of(shared: &Shared<'_>, docs: &HostDocs, last: Option<Arc<Outfit>>) -> Self {
        let name = docs.directory.clone();
        let (Some(fleet), Some((_, host))) = (shared.fleet(), docs.body()) else {
            return Self {
                name,
                outfit: None,
                most: u64::MAX,
                left: u64::MAX,
                cpus: u32::MAX,
                key: None,
            };
        };
        let settings = &host.settings;
        let groups = host.groups.iter().map(|group| group.value.clone());
        let networks = settings.networks.iter();
        let networks = networks.map(|(name, _)| name.value.clone());
        let outfit = Outfit {
            groups: groups.collect(),
            networks: networks.collect(),
        };
        let machine = settings.machine.as_ref();
        let memory = machine.and_then(|machine| machine.memory.as_ref());
        let memory = memory.map_or(u64::MAX, |memory| memory.value.mib());
        let most = memory.saturating_sub(lower::dom0_memory(settings, fleet).mib());
        let own = docs.guests();
        let own = own.map(|guest| lower::domu_memory(&guest.domu.settings).mib());
        let cpus = machine.and_then(|machine| machine.cpus.as_ref());
        let key = machine.and_then(|machine| machine.key.as_ref());
        Self {
            name,
            outfit: Some(match last {
                Some(last) if *last == outfit => last,
                _ => Arc::new(outfit),
            }),
            most,
            left: own.fold(most, u64::saturating_sub),
            cpus: cpus.map_or(u32::MAX, |cpus| cpus.value),
            key: key.map(|key| key.value.clone()),
        }
    }
}

/// The hosts by name and by group, and which of them lack a network.
pub(super) struct Map<'r> {
    pub(super) hosts: BTreeMap<&'r str, [&'r Seen; 1]>,
    /// Those with the least memory first.
    groups: BTreeMap<&'r Name, Vec<&'r Seen>>,
    lacking: BTreeMap<(&'r Hosts, &'r Name), Vec<&'r str>>,
    /// The logical CPUs of the host that has the fewest.
    pub(super) fewest: u32,
}

impl<'r> Map<'r> {
    pub(super) fn of(all: &'r [Seen]) -> Self {
        let readable = all
            .iter()
            .filter_map(|seen| Some((seen, seen.outfit.as_ref()?)));
        let mut groups: BTreeMap<&Name, Vec<&Seen>> = BTreeMap::new();
        for (seen, outfit) in readable {
            for group in &outfit.groups {
                groups.entry(group).or_default().push(seen);
            }
        }
        for hosts in groups.values_mut() {
            hosts.sort_by(|a, b| (a.most, &a.name).cmp(&(b.most, &b.name)));
        }
        Self {
            hosts: all.iter().map(|it| (it.name.as_str(), [it])).collect(),
            groups,
            lacking: BTreeMap::new(),
            fewest: all.iter().map(|it| it.cpus).min().unwrap_or(u32::MAX),
        }
    }

    /// The hosts that are meant, those with the least memory first.
    pub(super) fn meant(&self, hosts: &Hosts) -> &[&'r Seen] {
        match hosts {
            Hosts::One(name) => self.hosts.get(name.as_str()).map_or(&[], |one| one),
            Hosts::Group(name) => self.groups.get(name).map_or(&[], |all| all),
        }
    }

    /// Those of the hosts that are meant which do not have a network.
    pub(super) fn lacking(&mut self, hosts: &'r Hosts, network: &'r Name) -> &[&'r str] {
        let key = (hosts, network);
        if !self.lacking.contains_key(&key) {
            let lacks = |seen: &&&Seen| {
                let outfit = seen.outfit.as_ref();
                outfit.is_some_and(|outfit| !outfit.networks.contains(network))
            };
            let names = self.meant(hosts).iter().filter(lacks);
            let names = names.map(|seen| seen.name.as_str()).collect();
            self.lacking.insert(key, names);
        }
        &self.lacking[&key]
    }
}
