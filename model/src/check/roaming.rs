// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: where a domU may run besides its own host, it can: that host is there, has its networks,
//! leaves it memory enough, has CPUs enough, and opens its secrets. Hosts are read one after another and forgotten;
//! what others have to know of each is kept.

mod seen;

use super::{instead, listed};
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{At, HostDocs, Shared};
use crate::lower;
use crate::names::{Hosts, Name};
use crate::secrets::{Recipients, SshKey};
use crate::units::Size;
use seen::{Map, Seen};
use std::collections::{BTreeMap, BTreeSet};

/// A domU that may run elsewhere.
#[derive(Debug)]
struct Guest {
    name: String,
    home: String,
    memory: Size,
    vcpus: Option<At<u32>>,
    may_run_on: Vec<At<Hosts>>,
    networks: Vec<At<Name>>,
    secrets: Vec<(Place, String, Recipients)>,
}

/// The hosts of a fleet, and the domUs that may run on more than one of them.
#[derive(Debug, Default)]
pub(crate) struct Roaming {
    hosts: Vec<Seen>,
    guests: Vec<Guest>,
}

impl Roaming {
    /// Whether there is a domU that may run on more than one host.
    pub(crate) fn has_guests(&self) -> bool {
        !self.guests.is_empty()
    }

    /// Adds a host and its domUs, and says whether one of these may run elsewhere.
    pub(crate) fn add(&mut self, shared: &Shared<'_>, docs: &HostDocs) -> bool {
        let before = self.guests.len();
        let last = self.hosts.last().and_then(|seen| seen.outfit.clone());
        self.hosts.push(Seen::of(shared, docs, last));
        for guest in docs.guests() {
            let settings = &guest.domu.settings;
            if settings.may_run_on.is_empty() {
                continue;
            }
            let networks = settings.vifs.iter();
            let networks = networks.filter_map(|vif| vif.bridge.clone());
            let layer = docs.vservers.get(guest.name);
            let secrets = layer.into_iter().flat_map(|layer| {
                layer.doc.secrets.iter().filter_map(|secret| {
                    let recipients = layer.recipients.get(&secret.value)?.as_ref().ok()?;
                    let path = format!("{}/etc/{}", layer.directory, secret.value);
                    Some((secret.place.clone(), path, recipients.clone()))
                })
            });
            self.guests.push(Guest {
                name: guest.name.to_owned(),
                home: docs.directory.clone(),
                memory: lower::domu_memory(settings),
                vcpus: settings.vcpus.clone(),
                may_run_on: settings.may_run_on.clone(),
                networks: networks.collect(),
                secrets: secrets.collect(),
            });
        }
        self.guests.len() > before
    }

    /// Both together.
    pub(crate) fn join(&mut self, other: Self) {
        self.hosts.extend(other.hosts);
        self.guests.extend(other.guests);
    }

    /// Notes which domUs could not run where they may.
    pub(crate) fn prove(&self, notes: &mut Vec<Diagnostic>) {
        if self.guests.is_empty() {
            return;
        }
        let mut map = Map::of(&self.hosts);
        let mut said = Said::default();
        for guest in &self.guests {
            guest.prove(&mut map, &mut said);
        }
        notes.extend(said.into_notes());
    }
}

impl Guest {
    fn prove<'r>(&'r self, map: &mut Map<'r>, said: &mut Said) {
        for At { value, place } in &self.may_run_on {
            if let Hosts::One(name) = value
                && !map.hosts.contains_key(name.as_str())
            {
                said.note(place, "host", &self.name, || {
                    let known = map.hosts.keys().copied();
                    let help = instead(name.as_str(), known).unwrap_or_default();
                    place.error(format!("there is no host {name}")).help(help)
                });
            }
        }
        self.prove_networks(map, said);
        self.prove_memory(map, said);
        self.prove_cpus(map, said);
        self.prove_secrets(map, said);
    }

    /// The other hosts on which it may run, those of one entry after those of another; each entry
    /// has those with the least memory first.
    fn others<'m>(&'m self, map: &'m Map<'_>) -> impl Iterator<Item = &'m Seen> {
        let meant = self.may_run_on.iter().flat_map(|it| map.meant(&it.value));
        meant.copied().filter(|seen| seen.name != self.home)
    }

    /// Where it says that it may run elsewhere.
    fn place(&self) -> &Place {
        &self.may_run_on[0].place
    }

    fn prove_networks<'r>(&'r self, map: &mut Map<'r>, said: &mut Said) {
        for network in &self.networks {
            let mut without: Vec<&str> = Vec::new();
            for hosts in &self.may_run_on {
                without.extend(map.lacking(&hosts.value, &network.value));
            }
            without.retain(|host| *host != self.home);
            let without = names(without);
            if without.is_empty() {
                continue;
            }
            said.note(&network.place, "network", &self.name, || {
                let (name, network) = (&self.name, network);
                let message = format!(
                    "{name} may run where there is no network {}: {}",
                    network.value,
                    listed(&without)
                );
                let note = network.place.error(message).see(self.place(), "");
                note.help(format!(
                    "write [networks.{}] there, or take the hosts out of may-run-on",
                    network.value
                ))
            });
        }
    }

    fn prove_memory(&self, map: &Map<'_>, said: &mut Said) {
        let wanted = self.memory.mib();
        let meant = self.may_run_on.iter().map(|it| map.meant(&it.value));
        // Those with the least come first: of a large group few are looked at.
        let never = meant.flat_map(|meant| meant.iter().take_while(|seen| seen.most < wanted));
        let never = never.filter(|seen| seen.name != self.home);
        let never = names(never.map(|seen| seen.name.as_str()));
        let place = self.place();
        if !never.is_empty() {
            said.note(place, "memory", &self.name, || {
                let message = format!(
                    "{} may run where there is never memory for it: {}",
                    self.name,
                    listed(&never)
                );
                let help = "give it less, or take the hosts out: dom0 leaves less there";
                place
                    .error(message)
                    .remark(format!("it has {}", self.memory))
                    .help(help)
            });
            return;
        }
        if self.others(map).any(|seen| seen.left >= wanted) {
            return;
        }
        if let Some(most) = self.others(map).map(|seen| seen.left).max() {
            said.note(place, "room", &self.name, || {
                let message = format!("no other host has room for {} now", self.name);
                place.warning(message).help(format!(
                    "it has {}, and {} is the most that is left where it may run: move a domU, or \
                     name more hosts",
                    self.memory,
                    Size::from_mib(most)
                ))
            });
        }
    }

    fn prove_cpus(&self, map: &Map<'_>, said: &mut Said) {
        // Of most domUs no host is too small, and none has to be looked at.
        let wanted = self.vcpus.as_ref();
        let Some(At { value, place }) = wanted.filter(|vcpus| vcpus.value > map.fewest) else {
            return;
        };
        let fewer = self.others(map).filter(|seen| seen.cpus < *value);
        let fewer = names(fewer.map(|seen| seen.name.as_str()));
        if !fewer.is_empty() {
            said.note(place, "cpus", &self.name, || {
                let message = format!(
                    "{} has {value} vCPUs and may run where there are fewer CPUs: {}",
                    self.name,
                    listed(&fewer)
                );
                let note = place.error(message).see(self.place(), "");
                note.help("give it fewer, or take the hosts out of may-run-on")
            });
        }
    }

    fn prove_secrets(&self, map: &Map<'_>, said: &mut Said) {
        let readable = || self.others(map).filter(|seen| seen.outfit.is_some());
        for (place, path, recipients) in &self.secrets {
            let keyless = readable().filter(|seen| seen.key.is_none());
            let keyless = names(keyless.map(|seen| seen.name.as_str()));
            if let Some(host) = keyless.first() {
                said.note(place, "key", &self.name, || {
                    let message = format!(
                        "{} may run where {path} cannot be opened: no key in [machine] of {}",
                        self.name,
                        listed(&keyless)
                    );
                    let note = place.error(message).see(self.place(), "");
                    note.help(format!(
                        "write its SSH host key there: `ssh-keyscan -t ed25519 {host}`"
                    ))
                });
            }
            let opens = |key: &SshKey| recipients.include(key);
            let closed = readable().filter(|seen| seen.key.as_ref().is_some_and(|key| !opens(key)));
            let closed = names(closed.map(|seen| seen.name.as_str()));
            if !closed.is_empty() {
                said.note(place, "secret", &self.name, || {
                    let message = format!(
                        "{} may run where {path} cannot be opened: {}",
                        self.name,
                        listed(&closed)
                    );
                    let note = place.error(message).see(self.place(), "");
                    note.help("`domus secret rekey` encrypts it for all that need it")
                });
            }
        }
    }
}

/// Each of them once, in order.
fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    names.into_iter().collect()
}

/// What was noted: of what many domUs take from one place once, for the first of them.
#[derive(Default)]
struct Said(BTreeMap<(Place, &'static str), (Diagnostic, String, usize)>);

impl Said {
    fn note(
        &mut self,
        place: &Place,
        what: &'static str,
        domu: &str,
        note: impl FnOnce() -> Diagnostic,
    ) {
        let known = self.0.entry((place.clone(), what));
        let known = known.or_insert_with(|| (note(), domu.to_owned(), 0));
        known.2 += 1;
    }

    fn into_notes(self) -> impl Iterator<Item = Diagnostic> {
        self.0.into_values().map(|(note, domu, times)| match times {
            1 => note,
            _ => note.remark(format!("for {domu} and {} more", times - 1)),
        })
    }
}
