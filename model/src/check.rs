// SPDX-License-Identifier: GPL-3.0-or-later
//! What documents must prove together. Each proof takes what could be read, and notes every place
//! that fails it. Most look at one host; what is unique in the fleet is claimed, and claims are
//! compared when all hosts were seen.

mod addresses;
pub(crate) mod claims;
mod cpus;
mod devices;
mod dhcp;
mod disks;
mod firewall;
mod foreign;
mod hosts;
mod images;
mod kinds;
mod layers;
mod limits;
mod memory;
mod moved;
mod names;
mod networks;
mod order;
mod release;
mod removals;
mod roaming;
mod secrets;
mod spare;
mod storage;
mod trust;
mod users;

use crate::diagnostic::{Diagnostic, Place};
use crate::distance::meant;
use crate::documents::{At, Doc, DomUDoc, HostDoc, HostDocs, Shared};
pub use moved::Moved;
pub(crate) use moved::prove as prove_moved;
pub(crate) use roaming::Roaming;
pub use spare::Load;
pub(crate) use spare::prove as prove_spare;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Notes what the documents that all hosts share fail to prove.
pub(crate) fn prove_shared(shared: &Shared<'_>, notes: &mut Vec<Diagnostic>) {
    names::prove_fleet(shared, notes);
    users::prove(shared, notes);
    hosts::prove_shared(shared, notes);
    layers::prove_shared(shared, notes);
    trust::prove(shared, notes);
    removals::prove_shared(shared, notes);
}

/// Notes what the documents of one host fail to prove.
pub(crate) fn prove_host(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    names::prove_host(shared, docs, notes);
    networks::prove(docs, notes);
    addresses::prove(docs, notes);
    firewall::prove(shared, docs, notes);
    dhcp::prove(shared, docs, notes);
    images::prove(shared, docs, notes);
    foreign::prove(shared, docs, notes);
    release::prove(shared, docs, notes);
    hosts::prove_host(shared, docs, notes);
    memory::prove(shared, docs, notes);
    cpus::prove(docs, notes);
    limits::prove(docs, notes);
    kinds::prove(shared, docs, notes);
    disks::prove(docs, notes);
    storage::prove(docs, notes);
    order::prove(docs, notes);
    layers::prove_host(docs, notes);
    removals::prove_host(shared, docs, notes);
    secrets::prove(shared, docs, notes);
}

impl HostDocs {
    /// What `host.toml` says, if it could be read.
    pub(crate) fn body(&self) -> Option<(&Doc<HostDoc>, &HostDoc)> {
        let doc = self.host.as_ref()?;
        Some((doc, doc.body.as_ref()?))
    }

    /// The domUs that could be read.
    pub(crate) fn guests(&self) -> impl Iterator<Item = Guest<'_>> {
        self.domus.iter().filter_map(|(name, doc)| {
            let domu = doc.body.as_ref()?;
            Some(Guest { name, doc, domu })
        })
    }
}

/// A domU that could be read.
pub(crate) struct Guest<'d> {
    pub(crate) name: &'d str,
    pub(crate) doc: &'d Doc<DomUDoc>,
    pub(crate) domu: &'d DomUDoc,
}

/// The first few of these, as a list for people.
fn listed<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 8;
    let mut items: Vec<String> = items
        .into_iter()
        .map(|item| item.as_ref().to_owned())
        .collect();
    if items.len() > SHOWN {
        let more = items.len() - SHOWN;
        items.truncate(SHOWN);
        items.push(format!("and {more} more"));
    }
    items.join(", ")
}

/// Which of the `known` may have been meant by `written`, and all there are; `None` if none are.
pub(crate) fn instead<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let known: Vec<&str> = known.collect();
    let all = match known[..] {
        [] => return None,
        _ => format!("There are: {}", listed(&known)),
    };
    Some(match meant(written, &known) {
        Some(meant) => format!("did you mean {meant}? {all}"),
        None => all.replace("There", "there"),
    })
}

/// Notes values of one document that are there twice; `problem` says of what.
fn distinct<'d, T: Ord + Display + 'd>(
    mut values: impl Iterator<Item = &'d At<T>>,
    problem: &str,
    notes: &mut Vec<Diagnostic>,
) {
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        return;
    };
    let mut seen: BTreeMap<&T, &Place> = BTreeMap::new();
    for At { value, place } in [first, second].into_iter().chain(values) {
        if let Some(first) = seen.get(value) {
            let note = place
                .error(format!("{problem} {value}"))
                .see(first, "the first")
                .help("change one of the two");
            notes.push(note);
        } else {
            seen.insert(value, place);
        }
    }
}
