//! What documents must prove together. Each proof looks at all documents, takes what could be
//! read, and notes every place that fails it.
// SPDX-License-Identifier: GPL-3.0-or-later

mod disks;
mod images;
mod machines;
mod macs;
mod memory;
mod names;
mod networks;
mod order;
mod users;

use crate::diagnostic::Diagnostic;
use crate::documents::{At, Doc, Documents, DomUDoc, HostDoc};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;

/// Notes whatever these documents fail to prove.
pub(crate) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    let proofs = [
        names::prove,
        machines::prove,
        macs::prove,
        networks::prove,
        images::prove,
        memory::prove,
        disks::prove,
        order::prove,
        users::prove,
    ];
    for proof in proofs {
        proof(documents, notes);
    }
}

/// The hosts that could be read: what each is called, its document, and what that says.
fn hosts(documents: &Documents) -> impl Iterator<Item = (&str, &Doc<HostDoc>, &HostDoc)> {
    documents.hosts.iter().filter_map(|(name, docs)| {
        let host = docs.host.as_ref()?;
        Some((name.as_str(), host, host.body.as_ref()?))
    })
}

/// A domU that could be read.
struct Guest<'d> {
    host: &'d str,
    name: &'d str,
    path: &'d str,
    domu: &'d DomUDoc,
}

/// The domUs that could be read.
fn guests(documents: &Documents) -> impl Iterator<Item = Guest<'_>> {
    documents.hosts.iter().flat_map(|(host, docs)| {
        docs.domus.iter().filter_map(|(name, doc)| {
            let domu = doc.body.as_ref()?;
            let path = &doc.path;
            Some(Guest {
                host,
                name,
                path,
                domu,
            })
        })
    })
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

/// Notes values of one document that are there twice; `problem` says of what.
fn distinct<'d, T: Ord + Display + 'd>(
    path: &str,
    values: impl Iterator<Item = &'d At<T>>,
    problem: &str,
    notes: &mut Vec<Diagnostic>,
) {
    let mut seen = BTreeMap::new();
    for At { value, span } in values {
        if let Some(first) = seen.get(value) {
            let note = Diagnostic::error(format!("{problem} {value}"), path, span.clone())
                .see(path, Range::clone(first), "the first")
                .help("change one of the two");
            notes.push(note);
        } else {
            seen.insert(value, span.clone());
        }
    }
}
