// SPDX-License-Identifier: GPL-3.0-or-later
//! How the disks of this host are, by their own words. For `status` alone: neither a boot nor what
//! judges a generation waits for a disk.

use std::thread;

use domus_model::storage::health::{DiskStatus, Mute};
use domus_system::storage::physical::{self, Found};
use domus_system::storage::smart::{self, Answer};

use super::named;
use crate::context::Context;
use crate::warn;

/// How many disks are asked at once: each costs a process of some MB.
const AT_ONCE: usize = 16;

/// All disks of the machine, by name.
pub(crate) fn disks(context: &Context) -> Vec<DiskStatus> {
    let mut found = physical::disks(&context.paths.at("/")).unwrap_or_else(|error| {
        warn(&error);
        Vec::new()
    });
    for (name, device) in named(context) {
        let mut disks = found.iter_mut().map(|found| &mut found.disk);
        if let Some(disk) = disks.find(|disk| Some(&disk.device) == device.as_ref()) {
            disk.named = Some(name);
        }
    }
    let mut disks = Vec::new();
    for batch in found.chunks(AT_ONCE) {
        disks.extend(thread::scope(|scope| {
            let ask = |found| scope.spawn(move || status(found));
            let threads: Vec<_> = batch.iter().map(ask).collect();
            let joined = threads.into_iter().zip(batch).map(|(thread, found)| {
                let why = "asking it panicked; that is a defect of domus-dom0";
                let why = || Err(Mute::NotRead(why.to_owned()));
                thread
                    .join()
                    .unwrap_or_else(|_| DiskStatus::new(found.disk.clone(), why()))
            });
            joined.collect::<Vec<_>>()
        }));
    }
    disks
}

fn status(found: &Found) -> DiskStatus {
    let Found { mut disk, ask } = found.clone();
    let health = ask.and_then(|device| {
        let Answer {
            model,
            serial,
            health,
        } = smart::ask(&device);
        // The kernel cuts models off at 16 letters.
        disk.model = model.or(disk.model.take());
        disk.serial = serial.or(disk.serial.take());
        health.map_err(Mute::NotRead)
    });
    DiskStatus::new(disk, health.as_ref().map_err(Clone::clone))
}
