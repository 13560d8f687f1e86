// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: every host can open the secrets that it and its domUs need.

use crate::diagnostic::Diagnostic;
use crate::documents::{At, HostDocs, LayerDoc, Shared};

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((doc, host)) = docs.body() else {
        return;
    };
    let machine = host.settings.machine.as_ref();
    let key = machine.and_then(|machine| machine.key.as_ref());
    let mut lacks_key = None;
    for layer in layers(shared, docs) {
        for At { value, place } in &layer.doc.secrets {
            let path = format!("{}/etc/{value}", layer.directory);
            let note = match (layer.recipients.get(value), key) {
                // That it is missing is noted elsewhere.
                (None, _) => continue,
                (Some(Err(reason)), _) => {
                    let note = place.error(format!("{path} {reason}"));
                    note.help("`domus secret edit` makes it")
                }
                (Some(Ok(_)), None) => {
                    lacks_key.get_or_insert(path);
                    continue;
                }
                (Some(Ok(recipients)), Some(key)) if recipients.include(&key.value) => continue,
                (Some(Ok(_)), Some(_)) => {
                    let note = place.error(format!("a host that needs {path} cannot open it"));
                    let note = note.remark(format!("for {}", docs.directory));
                    note.help("`domus secret rekey` encrypts it for all that need it")
                }
            };
            notes.push(note);
        }
    }
    if let Some(path) = lacks_key {
        let host = &docs.directory;
        let message = format!("{host} has no key in [machine], so it cannot open {path}");
        let help = format!("write its SSH host key there: `ssh-keyscan -t ed25519 {host}`");
        notes.push(doc.place().error(message).help(help));
    }
}

/// The layers of a host and its domUs.
fn layers<'d>(shared: &'d Shared<'_>, docs: &'d HostDocs) -> impl Iterator<Item = &'d LayerDoc> {
    let groups = docs.body().into_iter().flat_map(|(_, host)| &host.groups);
    let groups = groups.filter_map(|group| shared.groups.get(group.value.as_str()));
    let own = [&docs.layer].into_iter().chain(docs.vservers.values());
    [&shared.global].into_iter().chain(groups).chain(own)
}
