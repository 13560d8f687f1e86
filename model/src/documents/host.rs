//! `pservers/HOST/host.toml`: a physical server.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::forms::{ADDRESS, GATEWAY, MAC, SIZE, UUID, name, size};
use super::table::{At, Table};
use super::words::{DIRECTORY, INTERFACE, SERIAL, VOLUME_GROUP};
use crate::fleet::{Address, VolumePool};
use crate::names::Name;
use crate::units::{Mac, Size};
use std::net::IpAddr;
use uuid::Uuid;

/// A host as written.
#[derive(Debug)]
pub(crate) struct HostDoc {
    pub(crate) machine: Option<MachineDoc>,
    pub(crate) dom0: Option<Dom0Doc>,
    pub(crate) pool: Option<VolumePool>,
    pub(crate) networks: Vec<(At<Name>, NetworkDoc)>,
}

/// `[machine]`
#[derive(Debug)]
pub(crate) struct MachineDoc {
    pub(crate) dmi_uuid: Option<At<Uuid>>,
    pub(crate) serial: Option<At<String>>,
    pub(crate) mac: Option<At<Mac>>,
    pub(crate) memory: Option<At<Size>>,
}

/// `[dom0]`
#[derive(Debug)]
pub(crate) struct Dom0Doc {
    pub(crate) memory: Option<At<Size>>,
    pub(crate) vcpus: Option<At<u32>>,
}

/// `[networks.NAME]`
#[derive(Debug)]
pub(crate) struct NetworkDoc {
    pub(crate) ports: Vec<At<String>>,
    pub(crate) address: Written<Address>,
    pub(crate) gateway: Option<At<IpAddr>>,
}

/// An optional value of which it matters whether it is absent or was refused.
#[derive(Debug)]
pub(crate) enum Written<T> {
    Absent,
    Refused,
    Read(At<T>),
}

/// Where volumes are if the host says nothing: on its config partition.
const DEFAULT_DIRECTORY: &str = "/config/volumes";

impl HostDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        Self {
            machine: document.table("machine", MachineDoc::read),
            dom0: document.table("dom0", Dom0Doc::read),
            pool: document.table("storage", read_storage).flatten(),
            networks: document.named_tables("networks", &name("lan"), NetworkDoc::read),
        }
    }
}

impl MachineDoc {
    fn read(table: &Table<'_>) -> Self {
        if !["dmi-uuid", "serial", "mac"]
            .iter()
            .any(|key| table.has(key))
        {
            let help = "write dmi-uuid (from /sys/class/dmi/id/product_uuid), serial (from \
                        product_serial there), or the mac of one of its network cards";
            let message = "nothing in [machine] tells this host from others".to_owned();
            table.notes().error(table.span(), message, help);
        }
        Self {
            dmi_uuid: table.read("dmi-uuid", &UUID),
            serial: table.read("serial", &SERIAL),
            mac: table.read("mac", &MAC),
            memory: table.require("memory", &size("64GiB")),
        }
    }
}

impl Dom0Doc {
    fn read(table: &Table<'_>) -> Self {
        Self {
            memory: table.read("memory", &SIZE),
            vcpus: table.number("vcpus", super::VCPUS),
        }
    }
}

impl NetworkDoc {
    fn read(table: &Table<'_>) -> Self {
        let address = match table.read("address", &ADDRESS) {
            Some(address) => Written::Read(address),
            None if table.has("address") => Written::Refused,
            None => Written::Absent,
        };
        Self {
            ports: table.list("ports", &INTERFACE),
            address,
            gateway: table.read("gateway", &GATEWAY),
        }
    }
}

fn read_storage(table: &Table<'_>) -> Option<VolumePool> {
    table.table("domUs", read_pool).flatten()
}

fn read_pool(table: &Table<'_>) -> Option<VolumePool> {
    let directory = table.read("directory", &DIRECTORY);
    let group = table.read("volume-group", &VOLUME_GROUP);
    let (has_directory, has_group) = (table.has("directory"), table.has("volume-group"));
    if has_directory && has_group {
        let message = "domUs' volumes cannot be in two places".to_owned();
        let help = "keep either directory or volume-group";
        table.notes().error(table.span(), message, help);
        return None;
    }
    match (directory, group) {
        (Some(At { value, .. }), _) => Some(VolumePool::Directory(value)),
        (_, Some(At { value, .. })) => Some(VolumePool::VolumeGroup(value)),
        _ if has_directory || has_group => None,
        _ => Some(VolumePool::Directory(DEFAULT_DIRECTORY.to_owned())),
    }
}
