// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: the local disks of a host are one, or the two of a mirror, and no domU has a part of them.
//! That nobody else has them, and that two are not the same, is claimed.
//! What is to be in `/config` fits there.

use super::devices::identity;
use crate::diagnostic::Diagnostic;
use crate::disk::bytes;
use crate::documents::{HostDocs, StorageDoc};
use crate::fleet::{CONFIG_SLACK, VolumePool, room};

pub(super) fn prove(docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    let Some((_, host)) = docs.body() else { return };
    let Some(storage) = &host.settings.storage else {
        return;
    };
    number(storage, notes);
    parts(docs, storage, notes);
    room_in_config(docs, storage, notes);
}

/// As many disks as it takes.
fn number(storage: &StorageDoc, notes: &mut Vec<Diagnostic>) {
    let is_mirror = storage.mirror.as_ref().is_some_and(|mirror| mirror.value);
    match &storage.disks[..] {
        [_, second] if !is_mirror => {
            let note = second.place.error("two disks, and not said what for");
            notes.push(note.help("write mirror = true, and each has all of it; or keep one disk"));
        }
        [_, _, third, ..] => {
            let note = third.place.error("more than two disks");
            notes.push(note.help("write one disk, or two with mirror = true"));
        }
        [_] if is_mirror => {
            if let Some(mirror) = &storage.mirror {
                let note = mirror.place.error("a mirror of one disk");
                notes.push(note.help("a mirror has two: name the other in disks"));
            }
        }
        [] if !storage.has_disks => unused(storage, notes),
        _ => {}
    }
}

/// What is to be on disks of which there are none. Defaults of groups may say more than a host has
/// use for.
fn unused(storage: &StorageDoc, notes: &mut Vec<Diagnostic>) {
    let sizes = [&storage.config, &storage.var, &storage.tmp, &storage.swap];
    let places = sizes.into_iter().flatten().map(|at| &at.place);
    let erased = storage.erase.iter().map(|at| &at.place);
    for place in places.chain(erased) {
        if place.file.ends_with("/host.toml") {
            let note = place.warning("nothing is made of this: the host names no disks");
            notes
                .push(note.help("write disks = [\"NAME\"]; `ls /dev/disk/by-id` on it lists them"));
        }
    }
}

/// The volumes of domUs fit into the partition for `/config`, where they are there.
fn room_in_config(docs: &HostDocs, storage: &StorageDoc, notes: &mut Vec<Diagnostic>) {
    let Some(config) = storage.config.as_ref().filter(|_| storage.has_disks) else {
        return;
    };
    if !storage.pool.as_ref().is_some_and(VolumePool::is_on_config) {
        return;
    }
    let disks = docs.guests().flat_map(|it| &it.domu.settings.disks);
    let volumes = disks.filter(|disk| disk.device.is_none());
    let sizes = volumes.filter_map(|disk| Some(disk.size.as_ref()?.value));
    let needs = room(sizes).saturating_add(CONFIG_SLACK);
    if needs > config.value.bytes() {
        let message = format!(
            "/config has {}, and the volumes of domUs there need {}, images left out",
            config.value,
            bytes(needs)
        );
        let note = config.place.error(message);
        notes.push(
            note.help("write more, or keep the volumes elsewhere: [storage.domUs] volume-group"),
        );
    }
}

/// A partition of these disks that a domU is given; that whole disks are given once is a claim.
fn parts(docs: &HostDocs, storage: &StorageDoc, notes: &mut Vec<Diagnostic>) {
    let host = &docs.directory;
    let own = |name: &str| identity(host, &format!("/dev/disk/by-id/{name}"));
    for guest in docs.guests() {
        let devices = guest.domu.settings.disks.iter();
        for device in devices.filter_map(|disk| disk.device.as_ref()) {
            let Some((whole, _)) = device.value.rsplit_once("-part") else {
                continue;
            };
            let whole = identity(host, whole);
            if let Some(disk) = storage.disks.iter().find(|disk| own(&disk.value) == whole) {
                let note = device
                    .place
                    .error("a part of a disk that the host has for itself")
                    .see(&disk.place, "here")
                    .help("leave it out of [storage] disks, or give the domU a volume");
                notes.push(note);
            }
        }
    }
}
