//! Hosts and their domUs.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::{dom0_memory, domu_memory, value, values};
use crate::documents::{
    At, Defaults, DiskDoc, Doc, DomUDoc, FleetDoc, HostDocs, MachineDoc, NetworkDoc, VifDoc,
    Written,
};
use crate::fleet::{Address, Disk, Dom0, DomU, Host, Kind, Machine, Network, Storage, Vif};

pub(super) fn host(docs: &HostDocs, fleet: &FleetDoc) -> Option<Host> {
    let doc = docs.host.as_ref()?;
    let host = doc.body.as_ref()?;
    let vcpus = host.dom0.as_ref().and_then(|dom0| value(&dom0.vcpus));
    let domus = docs.domus.values().map(|doc| domu(doc, &fleet.defaults));
    let networks = host
        .networks
        .iter()
        .map(|(name, doc)| Some((name.value.clone(), network(doc)?)));
    Some(Host {
        name: doc.name.clone()?,
        machine: machine(host.machine.as_ref()?)?,
        dom0: Dom0 {
            memory: dom0_memory(host.dom0.as_ref(), fleet),
            vcpus: vcpus.unwrap_or(1),
        },
        storage: Storage {
            domus: host.pool.clone()?,
        },
        networks: networks.collect::<Option<_>>()?,
        domus: domus
            .map(|domu| domu.map(|domu| (domu.name.clone(), domu)))
            .collect::<Option<_>>()?,
    })
}

fn machine(doc: &MachineDoc) -> Option<Machine> {
    Some(Machine {
        dmi_uuid: value(&doc.dmi_uuid),
        serial: value(&doc.serial),
        mac: value(&doc.mac),
        memory: value(&doc.memory)?,
    })
}

fn network(doc: &NetworkDoc) -> Option<Network> {
    Some(Network {
        ports: values(&doc.ports),
        address: match &doc.address {
            Written::Absent => Address::None,
            Written::Refused => return None,
            Written::Read(At { value, .. }) => value.clone(),
        },
        gateway: value(&doc.gateway),
    })
}

fn domu(doc: &Doc<DomUDoc>, defaults: &Defaults) -> Option<DomU> {
    let domu = doc.body.as_ref()?;
    let kind = value(&domu.kind).or_else(|| value(&defaults.kind));
    let vcpus = value(&domu.vcpus).or_else(|| value(&defaults.vcpus));
    Some(DomU {
        name: doc.name.clone()?,
        kind: kind.unwrap_or(Kind::Pvh),
        image: value(&domu.image)?,
        memory: domu_memory(domu, defaults),
        vcpus: vcpus.unwrap_or(1),
        after: values(&domu.after),
        vifs: domu.vifs.iter().map(vif).collect::<Option<_>>()?,
        disks: domu.disks.iter().map(disk).collect::<Option<_>>()?,
    })
}

fn vif(doc: &VifDoc) -> Option<Vif> {
    Some(Vif {
        bridge: value(&doc.bridge)?,
        mac: value(&doc.mac)?,
    })
}

fn disk(doc: &DiskDoc) -> Option<Disk> {
    Some(Disk {
        name: value(&doc.name)?,
        size: value(&doc.size)?,
        mount: value(&doc.mount),
    })
}
