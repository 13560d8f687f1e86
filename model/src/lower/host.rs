// SPDX-License-Identifier: GPL-3.0-or-later
//! Hosts.

use super::domu::domu;
use super::layers::Layers;
use super::network::{firewall, forward, network};
use super::{DEADLINE, dom0_memory, host_release, value, values, vars};
use crate::documents::{Dom0Doc, HealthDoc, HostDocs, MachineDoc, Shared, StorageDoc, VarsDoc};
use crate::fleet::{Dom0, DomU, Health, Host, LocalStorage, Machine, Storage};
use crate::units::Size;

/// The volume group of a host's disks if the host says nothing.
const DEFAULT_GROUP: &str = "domus";

/// The host of these documents; `None` if one of them lacks what it must have.
pub(crate) fn host(shared: &Shared<'_>, docs: &HostDocs, mut layers: Layers) -> Option<Host> {
    let fleet = shared.fleet()?;
    let doc = docs.host.as_ref()?;
    let host = doc.body.as_ref()?;
    let settings = &host.settings;
    let forwards = settings.forwards.iter();
    let forwards = forwards.map(|doc| forward(shared, docs, doc));
    let groups = values(&host.groups);
    let lower: Vec<&VarsDoc> = shared.vars(&groups).chain([&host.vars]).collect();
    let domus = docs.domus.iter().map(|(file, doc)| {
        let layers = layers.domus.remove(file).unwrap_or_default();
        domu(value(&fleet.name)?, doc, &lower, layers)
    });
    let domus = domus.collect::<Option<Vec<DomU>>>()?;
    let networks = settings.networks.iter().map(|(name, doc)| {
        let network = network(shared, &name.value, doc, &domus)?;
        Some((name.value.clone(), network))
    });
    let networks = networks.collect::<Option<_>>()?;
    let domus = domus.into_iter();
    Some(Host {
        name: doc.name.clone()?,
        release: host_release(settings, fleet),
        machine: machine(settings.machine.as_ref()?)?,
        dom0: dom0(settings.dom0.as_ref(), dom0_memory(settings, fleet)),
        health: health(settings.health.as_ref()),
        storage: storage(settings.storage.as_ref()?)?,
        networks,
        strays: settings
            .domus
            .as_ref()
            .and_then(|domus| value(&domus.strays))
            .unwrap_or_default(),
        firewall: firewall(settings.firewall.as_ref()),
        forwards: forwards.collect::<Option<_>>()?,
        domus: domus.map(|domu| (domu.name.clone(), domu)).collect(),
        vars: vars(lower),
        layers: layers.host,
        groups,
    })
}

fn dom0(doc: Option<&Dom0Doc>, memory: Size) -> Dom0 {
    Dom0 {
        memory,
        vcpus: doc.and_then(|doc| value(&doc.vcpus)),
        weight: doc
            .and_then(|doc| value(&doc.weight))
            .unwrap_or(Dom0::WEIGHT),
        dns: doc.map(|doc| values(&doc.dns)).unwrap_or_default(),
        ntp: doc.map(|doc| values(&doc.ntp)).unwrap_or_default(),
    }
}

fn machine(doc: &MachineDoc) -> Option<Machine> {
    Some(Machine {
        dmi_uuid: value(&doc.dmi_uuid),
        serial: value(&doc.serial),
        mac: value(&doc.mac),
        memory: value(&doc.memory)?,
        cpus: value(&doc.cpus),
        console: value(&doc.console).unwrap_or_default(),
        key: value(&doc.key),
    })
}

fn storage(doc: &StorageDoc) -> Option<Storage> {
    let local = || LocalStorage {
        disks: values(&doc.disks),
        mirror: value(&doc.mirror).unwrap_or(false),
        config: value(&doc.config),
        var: value(&doc.var),
        tmp: value(&doc.tmp),
        swap: value(&doc.swap),
        volume_group: value(&doc.group).unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
        erase: values(&doc.erase),
    };
    Some(Storage {
        domus: doc.pool.clone()?,
        local: (!doc.disks.is_empty()).then(local),
    })
}

fn health(doc: Option<&HealthDoc>) -> Health {
    Health {
        deadline: doc.and_then(|doc| value(&doc.deadline)).unwrap_or(DEADLINE),
        commands: doc.map(|doc| values(&doc.commands)).unwrap_or_default(),
    }
}
