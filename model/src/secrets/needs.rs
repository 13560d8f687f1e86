// SPDX-License-Identifier: GPL-3.0-or-later
//! Which secrets a fleet has, and whom each must be for: the hosts that lay its layer, for
//! themselves or for a domU, and the operators. Said of documents with errors, too: a secret that
//! is for too few is one.

use super::{Recipient, Recipients, SshKey};
use crate::documents::{HostDocs, LayerDoc, Shared};
use crate::files::Files;
use crate::names::Hosts;
use std::collections::BTreeMap;

/// A secret of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its path in the repository.
    pub path: String,
    /// Whom it is for, or why that cannot be said, as the end of a sentence that begins with it.
    pub recipients: Result<Recipients, String>,
}

/// Whom the secrets of a fleet must be for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// People who can open all of them.
    pub operators: Vec<Recipient>,
    /// The hosts that need each layer, by its directory; with their keys, if they have one.
    pub hosts: BTreeMap<String, BTreeMap<String, Option<SshKey>>>,
}

/// The secrets of these documents, and whom they must be for.
pub fn secrets(files: &Files) -> (Vec<Secret>, Needs) {
    let mut notes = Vec::new();
    let shared = Shared::read(&files.shared, &mut notes);
    let operators = shared
        .fleet()
        .into_iter()
        .flat_map(|fleet| &fleet.operators);
    let mut needs = Needs {
        operators: operators.map(|operator| operator.value.clone()).collect(),
        hosts: BTreeMap::new(),
    };
    let mut secrets = Vec::new();
    for layer in [&shared.global].into_iter().chain(shared.groups.values()) {
        secrets.extend(listed(layer));
    }
    let mut roaming: Vec<(String, Vec<Hosts>)> = Vec::new();
    for (directory, documents) in &files.hosts {
        let vservers = &files.vservers;
        let docs = HostDocs::read(&shared, directory, documents, vservers, &mut notes);
        secrets.extend(listed(&docs.layer));
        docs.vservers
            .values()
            .for_each(|layer| secrets.extend(listed(layer)));
        let host = docs.body().map(|(_, host)| host);
        let machine = host.and_then(|host| host.settings.machine.as_ref());
        let key = machine.and_then(|machine| machine.key.as_ref());
        let key = key.map(|key| key.value.clone());
        let groups = host.into_iter().flat_map(|host| &host.groups);
        let groups = groups.map(|group| format!("groups/{}", group.value));
        let domus = docs.domus.keys().map(|domu| format!("vservers/{domu}"));
        for guest in docs.guests() {
            let hosts = guest.domu.settings.may_run_on.iter();
            let hosts = hosts.map(|hosts| hosts.value.clone());
            roaming.push((format!("vservers/{}", guest.name), hosts.collect()));
        }
        let own = ["global".to_owned(), format!("pservers/{directory}")];
        for layer in own.into_iter().chain(groups).chain(domus) {
            let hosts = needs.hosts.entry(layer).or_default();
            hosts.insert(directory.clone(), key.clone());
        }
    }
    for (layer, hosts) in roaming {
        needs.let_run(layer, &hosts);
    }
    secrets.sort_by(|a, b| a.path.cmp(&b.path));
    (secrets, needs)
}

fn listed(layer: &LayerDoc) -> impl Iterator<Item = Secret> {
    layer.doc.secrets.iter().map(|secret| {
        let missing = || Err("is not there".to_owned());
        let recipients = layer.recipients.get(&secret.value).cloned();
        Secret {
            path: format!("{}/etc/{}", layer.directory, secret.value),
            recipients: recipients.unwrap_or_else(missing),
        }
    })
}

impl Needs {
    /// Whoever may run a domU needs its layer.
    fn let_run(&mut self, layer: String, on: &[Hosts]) {
        for hosts in on {
            let more: Vec<(String, Option<SshKey>)> = match hosts {
                // Every host needs the layer of all.
                Hosts::One(name) => {
                    let all = self.hosts.get("global");
                    let known = all.and_then(|all| all.get_key_value(name.as_str()));
                    let known = known.map(|(host, key)| (host.clone(), key.clone()));
                    known.into_iter().collect()
                }
                Hosts::Group(name) => {
                    let group = self.hosts.get(&format!("groups/{name}"));
                    group.cloned().unwrap_or_default().into_iter().collect()
                }
            };
            self.hosts.entry(layer.clone()).or_default().extend(more);
        }
    }

    /// The hosts that need the secret at `path`, with their keys.
    pub fn hosts_of(&self, path: &str) -> impl Iterator<Item = (&str, Option<&SshKey>)> {
        let layer = path.split_once("/etc/").map_or("", |(layer, _)| layer);
        let hosts = self.hosts.get(layer).into_iter().flatten();
        hosts.map(|(host, key)| (host.as_str(), key.as_ref()))
    }

    /// All that the secret at `path` must be for.
    ///
    /// # Errors
    /// The hosts that have no key.
    pub fn recipients_of(&self, path: &str) -> Result<Vec<Recipient>, Vec<&str>> {
        let without = self.hosts_of(path).filter(|(_, key)| key.is_none());
        let without: Vec<&str> = without.map(|(host, _)| host).collect();
        if !without.is_empty() {
            return Err(without);
        }
        let keys = self.hosts_of(path).filter_map(|(_, key)| key.cloned());
        let keys = keys.map(Recipient::Ssh);
        Ok(keys.chain(self.operators.iter().cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_run_a_domu_needs_its_secrets() {
        let mut files = Files::new();
        let domus = "version = 1\nfleet = \"small\"\n[groups.web]\n[groups.none]";
        files.insert("domus.toml", domus.into());
        for (host, groups) in [
            ("alpha", ""),
            ("beta", "\"web\""),
            ("gamma", ""),
            ("delta", ""),
        ] {
            let text = format!("version = 1\ngroups = [{groups}]");
            files.insert(format!("pservers/{host}/host.toml"), text.into());
        }
        for (domu, on) in [
            ("web", r#""@web", "gamma""#),
            ("db", r#""@none", "lost", "alpha""#),
        ] {
            let text = format!("version = 1\nimage = \"base@1\"\nmay-run-on = [{on}]");
            files.insert(format!("pservers/alpha/domUs/{domu}.toml"), text.into());
        }
        let (_, needs) = secrets(&files);
        let hosts = |path| {
            needs
                .hosts_of(path)
                .map(|(host, _)| host)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            hosts("vservers/web/etc/key.age"),
            ["alpha", "beta", "gamma"]
        );
        assert_eq!(hosts("vservers/db/etc/key.age"), ["alpha"]);
        assert_eq!(hosts("global/etc/key.age").len(), 4);
    }
}
