//! Proof: a domU's disks have names and places of their own.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::{distinct, guests};
use crate::diagnostic::Diagnostic;
use crate::documents::Documents;

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    for guest in guests(documents) {
        let disks = &guest.domu.disks;
        let names = disks.iter().filter_map(|disk| disk.name.as_ref());
        distinct(guest.path, names, "two disks are called", notes);
        let mounts = disks.iter().filter_map(|disk| disk.mount.as_ref());
        distinct(guest.path, mounts, "two disks are mounted on", notes);
    }
}
