//! Proof: everything has the documents it needs, and a domU's name is that of one domU.
// SPDX-License-Identifier: GPL-3.0-or-later

use crate::diagnostic::Diagnostic;
use crate::documents::Documents;
use std::collections::BTreeMap;

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    if documents.fleet.is_none() {
        let help = "write it with version = 1 and fleet = \"NAME\"; `domus init` makes a whole one";
        let message = "there is no domus.toml, which every fleet has";
        notes.push(Diagnostic::error(message, "domus.toml", 0..0).help(help));
    }
    let mut seen: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (host, docs) in &documents.hosts {
        if let (None, Some(domu)) = (&docs.host, docs.domus.values().next()) {
            let message = format!("{host} has a domU and no host.toml");
            let help = format!("write pservers/{host}/host.toml, or move its domUs elsewhere");
            notes.push(Diagnostic::error(message, &domu.path, 0..0).help(help));
        }
        for (name, domu) in &docs.domus {
            if let Some((other, path)) = seen.insert(name, (host, &domu.path)) {
                let message = format!("two domUs are called {name}: on {other} and on {host}");
                let help = "one vservers/NAME belongs to one domU: rename one, or keep one";
                let note = Diagnostic::error(message, &domu.path, 0..0).help(help);
                notes.push(note.see(path, 0..0, ""));
            }
        }
    }
}
