// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: a release that a host keeps to is the fleet's, or was built once.

use super::instead;
use crate::diagnostic::Diagnostic;
use crate::documents::{HostDocs, Shared};
use crate::lower;

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let (Some(fleet), Some((_, host))) = (shared.fleet(), docs.body()) else {
        return;
    };
    let Some(release) = &host.settings.release else {
        return;
    };
    let own = lower::release_version(fleet);
    let locked = shared.lock.iter().flat_map(|lock| &lock.releases);
    let locked = locked.map(|(version, _)| version.value.as_str());
    let mut known: Vec<&str> = locked.chain([own.as_str()]).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&release.value.as_str()) {
        return;
    }
    let message = format!("nobody has built a release {}", release.value);
    let note = release.place.error(message);
    let note = note.remark(format!("for {}", docs.directory));
    let help = instead(&release.value, known.into_iter()).unwrap_or_default();
    notes.push(note.help(format!(
        "{help}. `domus iso build` writes a new one into domus.lock"
    )));
}
