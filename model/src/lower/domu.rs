// SPDX-License-Identifier: GPL-3.0-or-later
//! domUs.

use super::{domu_memory, domu_vcpus, value, values, vars};
use crate::documents::{DiskDoc, Doc, DomUDoc, VarsDoc, VifDoc};
use crate::etc::derived_mac;
use crate::fleet::{Backing, Disk, DomU, Fs, Vif, volume_name};
use crate::layers::Layer;
use crate::names::Name;
use crate::units::Mac;

/// The domU of this document, of the fleet of that name.
pub(super) fn domu(
    fleet: Name,
    doc: &Doc<DomUDoc>,
    lower: &[&VarsDoc],
    layers: Vec<Layer>,
) -> Option<DomU> {
    let domu = doc.body.as_ref()?;
    let settings = &domu.settings;
    let name = doc.name.clone()?;
    let vifs = settings.vifs.iter().enumerate();
    let vifs = vifs.map(|(index, doc)| vif(doc, || derived_mac(&fleet, &name, index)));
    let vifs = vifs.collect::<Option<_>>()?;
    let disks = settings.disks.iter().map(|doc| disk(&name, doc));
    let disks = disks.collect::<Option<_>>()?;
    let plain = DomU::new(name, value(&settings.image)?);
    Some(DomU {
        kind: value(&settings.kind).unwrap_or(plain.kind),
        uuid: value(&settings.uuid),
        foreign: value(&settings.foreign).unwrap_or(plain.foreign),
        kernel_args: values(&settings.kernel_args),
        memory: domu_memory(settings),
        max_memory: value(&settings.max_memory),
        vcpus: domu_vcpus(settings),
        max_vcpus: value(&settings.max_vcpus),
        pin: value(&settings.pin),
        weight: value(&settings.weight).unwrap_or(plain.weight),
        cap: value(&settings.cap),
        clock: value(&settings.clock).unwrap_or(plain.clock),
        console_log: value(&settings.console_log).unwrap_or(plain.console_log),
        after: values(&settings.after),
        delay: value(&settings.delay),
        autostart: value(&settings.autostart).unwrap_or(plain.autostart),
        restart: value(&settings.restart).unwrap_or(plain.restart),
        stop_timeout: value(&settings.stop_timeout).unwrap_or(plain.stop_timeout),
        health: value(&settings.health),
        may_run_on: values(&settings.may_run_on),
        moved_from: value(&settings.moved_from),
        pci: values(&settings.pci),
        vifs,
        disks,
        vars: vars(lower.iter().copied().chain([&domu.vars])),
        layers,
        ..plain
    })
}

fn vif(doc: &VifDoc, derived: impl FnOnce() -> Mac) -> Option<Vif> {
    let mac = match doc.has_mac {
        true => value(&doc.mac)?,
        false => derived(),
    };
    let plain = Vif::new(value(&doc.bridge)?, mac);
    Some(Vif {
        rate: value(&doc.rate),
        filter: value(&doc.filter).unwrap_or(plain.filter),
        addresses: values(&doc.addresses),
        ..plain
    })
}

fn disk(domu: &Name, doc: &DiskDoc) -> Option<Disk> {
    let name = value(&doc.name)?;
    let own = || volume_name(domu.as_str(), &name);
    let backing = match (value(&doc.device), value(&doc.image)) {
        (Some(path), _) => Backing::Device { path },
        (None, Some(image)) => Backing::Image { image },
        (None, None) => Backing::Volume {
            name: value(&doc.volume).unwrap_or_else(own),
            size: value(&doc.size)?,
        },
    };
    let fs = match backing {
        Backing::Image { .. } => Fs::None,
        _ => value(&doc.fs).unwrap_or_default(),
    };
    Some(Disk {
        backing,
        fs,
        mount: value(&doc.mount),
        name,
    })
}
