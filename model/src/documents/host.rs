// SPDX-License-Identifier: GPL-3.0-or-later
//! `pservers/HOST/host.toml`: a physical server.

use super::addresses::{MACHINE, TIME_SERVER};
use super::domu::DomUSettings;
use super::forms::{CONSOLE, DEADLINE, Form, MAC, MEMORY, UUID, name, size};
use super::network::{FirewallDoc, ForwardDoc, NetworkDoc};
use super::place::At;
use super::storage::StorageDoc;
use super::table::{Table, VarsDoc};
use super::words::{COMMAND, RELEASE_VERSION, SERIAL, SSH_KEY};
use crate::bad_value::{BadValue, quoted};
use crate::fleet::{SerialConsole, Strays};
use crate::names::Name;
use crate::secrets::SshKey;
use crate::units::{Interval, Mac, Size};
use std::net::IpAddr;
use uuid::Uuid;

/// A host as written.
#[derive(Debug)]
pub(crate) struct HostDoc {
    /// Its groups in order, the first the most general.
    pub(crate) groups: Vec<At<Name>>,
    pub(crate) settings: HostSettings,
    pub(crate) vars: VarsDoc,
}

/// What a host may take from a group or the fleet.
#[derive(Debug)]
pub(crate) struct HostSettings {
    pub(crate) release: Option<At<String>>,
    pub(crate) machine: Option<MachineDoc>,
    pub(crate) dom0: Option<Dom0Doc>,
    pub(crate) health: Option<HealthDoc>,
    pub(crate) storage: Option<StorageDoc>,
    pub(crate) domus: Option<DomusDoc>,
    pub(crate) networks: Vec<(At<Name>, NetworkDoc)>,
    pub(crate) firewall: Option<FirewallDoc>,
    pub(crate) forwards: Vec<ForwardDoc>,
}

/// `[machine]`
#[derive(Debug)]
pub(crate) struct MachineDoc {
    pub(crate) dmi_uuid: Option<At<Uuid>>,
    pub(crate) serial: Option<At<String>>,
    pub(crate) mac: Option<At<Mac>>,
    pub(crate) memory: Option<At<Size>>,
    pub(crate) cpus: Option<At<u32>>,
    pub(crate) console: Option<At<SerialConsole>>,
    pub(crate) key: Option<At<SshKey>>,
}

/// `[dom0]`
#[derive(Debug)]
pub(crate) struct Dom0Doc {
    pub(crate) memory: Option<At<Size>>,
    pub(crate) vcpus: Option<At<u32>>,
    pub(crate) weight: Option<At<u32>>,
    pub(crate) dns: Vec<At<IpAddr>>,
    pub(crate) ntp: Vec<At<String>>,
}

/// `[health]`
#[derive(Debug)]
pub(crate) struct HealthDoc {
    pub(crate) deadline: Option<At<Interval>>,
    pub(crate) commands: Vec<At<String>>,
}

/// `[domUs]`
#[derive(Debug)]
pub(crate) struct DomusDoc {
    pub(crate) strays: Option<At<Strays>>,
}

/// What becomes of domains that nobody declared.
const STRAYS: Form<Strays> = Form {
    example: "report",
    pattern: r"^(report|destroy)$",
    parse: |text| match text {
        "report" => Ok(Strays::Report),
        "destroy" => Ok(Strays::Destroy),
        _ => {
            let problem = format!("{} says not what becomes of a stray", quoted(text));
            let advice = "write \"report\", or \"destroy\" for a host on which nobody makes domains \
                          by hand";
            Err(BadValue::new(problem, advice))
        }
    },
};

impl HostDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        document.part("domU", "what its domUs have", DomUSettings::read);
        let about = "groups it belongs to; what a later one says wins";
        Self {
            groups: document.list("groups", about, &name("web")),
            settings: HostSettings::read(document),
            vars: document.vars(),
        }
    }
}

impl HostSettings {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let machine = "how the boot recognises this host, and what it has";
        let networks = "a bridge of this name, to which domUs' cards are joined";
        let forward = "a port of dom0's addresses that leads to a domU";
        let release = "the release that it boots, if not the fleet's";
        let storage = "where things outlast a reboot";
        Self {
            release: table.read("release", release, &RELEASE_VERSION),
            machine: table.table("machine", machine, MachineDoc::read),
            dom0: table.table("dom0", "what dom0 has of it", Dom0Doc::read),
            health: table.table("health", "when a new generation is kept", HealthDoc::read),
            storage: table.table("storage", storage, StorageDoc::read),
            domus: table.table("domUs", "how its domUs are kept", DomusDoc::read),
            networks: table.named_tables("networks", networks, &name("lan"), NetworkDoc::read),
            firewall: table.table("firewall", "who reaches dom0", FirewallDoc::read),
            forwards: table.tables("forward", forward, ForwardDoc::read),
        }
    }
}

impl MachineDoc {
    fn read(table: &Table<'_>) -> Self {
        let machine = Self {
            dmi_uuid: table.read("dmi-uuid", "UUID of the machine's DMI tables", &UUID),
            serial: table.read("serial", "serial number of its DMI tables", &SERIAL),
            mac: table.read("mac", "address of one of its network cards", &MAC),
            memory: table.require("memory", "memory that dom0 and domUs share", &size("64GiB")),
            cpus: table.number("cpus", "logical CPUs that it has", super::CPUS),
            console: table.read(
                "console",
                "the serial port that its boot is shown on",
                &CONSOLE,
            ),
            key: table.read(
                "key",
                "its SSH host key, for which secrets are encrypted",
                &SSH_KEY,
            ),
        };
        let identities = ["dmi-uuid", "serial", "mac"];
        if table.is_whole() && !identities.iter().any(|key| table.has(key)) {
            let help = "write dmi-uuid (from /sys/class/dmi/id/product_uuid), serial (from \
                        product_serial there), or the mac of one of its network cards";
            let message = "nothing in [machine] tells this host from others".to_owned();
            table.notes().error(&table.place(), message, help);
        }
        machine
    }
}

impl Dom0Doc {
    fn read(table: &Table<'_>) -> Self {
        let weight = "the share of each of them where CPUs are short; domUs have 256";
        Self {
            memory: table.read("memory", "memory that dom0 keeps", &MEMORY),
            vcpus: table.number("vcpus", "virtual CPUs that dom0 keeps", super::VCPUS),
            weight: table.number("weight", weight, super::domu::WEIGHTS),
            dns: table.list("dns", "name servers that dom0 asks", &MACHINE),
            ntp: table.list("ntp", "time servers that dom0 asks", &TIME_SERVER),
        }
    }
}

impl DomusDoc {
    fn read(table: &Table<'_>) -> Self {
        let strays = "what becomes of domains that nobody declared";
        Self {
            strays: table.read("strays", strays, &STRAYS),
        }
    }
}

impl HealthDoc {
    fn read(table: &Table<'_>) -> Self {
        let deadline = "how long a new generation may take until the host is healthy";
        let commands = "commands in dom0 that succeed then, beside all domUs being up";
        Self {
            deadline: table.read("deadline", deadline, &DEADLINE),
            commands: table.list("commands", commands, &COMMAND),
        }
    }
}
