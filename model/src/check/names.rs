// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: everything has the documents it needs. (That a name is that of one host or one
//! domU is for `claims` to prove.)

use super::instead;
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{HostDocs, Shared};
use crate::names::Hosts;

pub(super) fn prove_fleet(shared: &Shared<'_>, notes: &mut Vec<Diagnostic>) {
    if shared.fleet.is_none() {
        let help = "write it with version = 1 and fleet = \"NAME\"; `domus init` makes a whole one";
        let message = "there is no domus.toml, which every fleet has";
        notes.push(Place::whole("domus.toml").error(message).help(help));
    }
}

pub(super) fn prove_host(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let host = &docs.directory;
    if let (None, Some(domu)) = (&docs.host, docs.domus.values().next()) {
        let message = format!("{host} has a domU and no host.toml");
        let help = format!("write pservers/{host}/host.toml, or move its domUs elsewhere");
        notes.push(domu.place().error(message).help(help));
    }
    let (Some((_, host)), Some(fleet)) = (docs.body(), shared.fleet()) else {
        return;
    };
    let known = || fleet.groups.iter().map(|(name, _)| name.value.as_str());
    let own = host.groups.iter().map(|group| (&group.value, &group.place));
    let named = docs.guests().flat_map(|it| &it.domu.settings.may_run_on);
    let named = named.filter_map(|hosts| match &hosts.value {
        Hosts::Group(group) => Some((group, &hosts.place)),
        Hosts::One(_) => None,
    });
    for (group, place) in own.chain(named) {
        if known().all(|name| name != group.as_str()) {
            let message = format!("the fleet has no group {group}");
            let write = format!("write [groups.{group}] in domus.toml");
            let others = instead(group.as_str(), known());
            let help = others.map_or(write.clone(), |others| format!("{others}; or {write}"));
            notes.push(place.error(message).help(help));
        }
    }
    super::distinct(host.groups.iter(), "the host is twice in", notes);
}
