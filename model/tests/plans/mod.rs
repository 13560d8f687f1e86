// SPDX-License-Identifier: GPL-3.0-or-later
//! What plans need of a repository; shared by the tests.

use domus_model::files::{Documents, Files};
use domus_model::fleet::Host;
use domus_model::load::{Frame, Proof};
use domus_model::names::Name;
use std::collections::BTreeMap;

/// A host as its documents describe it; `None` if it has none.
pub(crate) fn host(files: &Files, frame: &Frame<'_>, name: &str) -> Option<Host> {
    let documents: &Documents = files.hosts.get(name)?;
    let mut proof = Proof::new(frame);
    let host = proof.host(name, documents, &files.vservers);
    let problems = || domus_model::load::check(files).diagnostics;
    Some(host.unwrap_or_else(|| panic!("{name} has errors: {:#?}", problems())))
}

/// The hosts of all domUs that are not on `host`.
pub(crate) fn elsewhere(files: &Files, host: &str) -> BTreeMap<Name, Name> {
    let others = files.hosts.iter().filter(|(name, _)| *name != host);
    let domus =
        others.flat_map(|(name, documents)| documents.domus().map(move |domu| (domu, name)));
    domus
        .map(|(domu, host)| (domu.parse().expect("a name"), host.parse().expect("a name")))
        .collect()
}
