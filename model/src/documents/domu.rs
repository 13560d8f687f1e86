// SPDX-License-Identifier: GPL-3.0-or-later
//! `pservers/HOST/domUs/NAME.toml`: a guest.

mod disk;
mod forms;
mod vif;

pub(crate) use disk::DiskDoc;
pub(crate) use vif::VifDoc;

use self::forms::{CLOCK, CONSOLE_LOG, HEALTH, KERNEL_ARG, KIND, PCI, PIN, RESTART, STOP_TIMEOUT};
use super::forms::{DELAY, HOSTS, IMAGE, MEMORY, UUID, memory, name};
use super::place::At;
use super::table::{Table, VarsDoc};
use crate::bad_value::BadValue;
use crate::fleet::{Clock, Kind, Restart};
use crate::names::{Hosts, ImageRef, Name};
use crate::units::{CpuSet, Interval, PciDevice, Size};
use std::ops::RangeInclusive;
use uuid::Uuid;

/// A domU as written.
#[derive(Debug)]
pub(crate) struct DomUDoc {
    pub(crate) settings: DomUSettings,
    pub(crate) vars: VarsDoc,
}

/// What a domU may take from its host, a group or the fleet.
#[derive(Debug)]
pub(crate) struct DomUSettings {
    pub(crate) kind: Option<At<Kind>>,
    pub(crate) uuid: Option<At<Uuid>>,
    pub(crate) image: Option<At<ImageRef>>,
    pub(crate) foreign: Option<At<bool>>,
    pub(crate) kernel_args: Vec<At<String>>,
    pub(crate) memory: Option<At<Size>>,
    pub(crate) max_memory: Option<At<Size>>,
    pub(crate) vcpus: Option<At<u32>>,
    pub(crate) max_vcpus: Option<At<u32>>,
    pub(crate) pin: Option<At<CpuSet>>,
    pub(crate) weight: Option<At<u32>>,
    pub(crate) cap: Option<At<u32>>,
    pub(crate) clock: Option<At<Clock>>,
    pub(crate) console_log: Option<At<Size>>,
    pub(crate) after: Vec<At<Name>>,
    pub(crate) delay: Option<At<Interval>>,
    pub(crate) autostart: Option<At<bool>>,
    pub(crate) restart: Option<At<Restart>>,
    pub(crate) stop_timeout: Option<At<Interval>>,
    pub(crate) health: Option<At<String>>,
    pub(crate) may_run_on: Vec<At<Hosts>>,
    pub(crate) moved_from: Option<At<Name>>,
    pub(crate) pci: Vec<At<PciDevice>>,
    pub(crate) vifs: Vec<VifDoc>,
    pub(crate) disks: Vec<DiskDoc>,
}

/// The weights that credit2 knows (sched_credit2.c of Xen).
pub(super) const WEIGHTS: RangeInclusive<u32> = 1..=65535;
/// Percents of a CPU: no guest has more than 128 of them.
const CAPS: RangeInclusive<u32> = 1..=12800;
/// The room for them on a command line of 1024 bytes, which is what a PV guest is given.
const MOST_ARGS: usize = 800;

/// Whether a document takes this as an argument of a domU's kernel.
pub(super) fn takes_kernel_arg(text: &str) -> Result<(), BadValue> {
    (KERNEL_ARG.parse)(text).map(drop)
}

impl DomUDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        Self {
            settings: DomUSettings::read(document),
            vars: document.vars(),
        }
    }
}

impl DomUSettings {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let foreign = "whether the image is none of Domus's own, but boots by itself";
        let may_run_on = "hosts, or all of @GROUP, on which it may run besides its own";
        let moved_from = "the host that its volumes come from, which `domus move` writes";
        let settings = Self {
            image: table.require("image", "the image it starts from", &IMAGE),
            kind: table.read("kind", "how it is virtualised", &KIND),
            uuid: table.read("uuid", "its UUID, if not one derived from its name", &UUID),
            foreign: table.flag("foreign", foreign),
            kernel_args: table.list("kernel-args", "more arguments for its kernel", &KERNEL_ARG),
            memory: table.read("memory", "its memory", &MEMORY),
            max_memory: table.read(
                "max-memory",
                "the most memory that it can be given while it runs",
                &memory("1GiB"),
            ),
            vcpus: table.number("vcpus", "its virtual CPUs", super::VCPUS),
            max_vcpus: table.number(
                "max-vcpus",
                "the most virtual CPUs that it can be given while it runs",
                super::VCPUS,
            ),
            pin: table.read("pin", "the host's CPUs that it runs on, if not all", &PIN),
            weight: table.number(
                "weight",
                "its share where CPUs are short; others have 256",
                WEIGHTS,
            ),
            cap: table.number("cap", "the most that it has, in percent of one CPU", CAPS),
            clock: table.read("clock", "what its clock shows when it starts", &CLOCK),
            console_log: table.read(
                "console-log",
                "how much is kept of what its console says",
                &CONSOLE_LOG,
            ),
            after: table.list(
                "after",
                "domUs of this host that start before it",
                &name("db"),
            ),
            delay: table.read("delay", "how long it waits when those are up", &DELAY),
            autostart: table.flag("autostart", "whether it starts with its host"),
            restart: table.read(
                "restart",
                "when it is started again after it ended",
                &RESTART,
            ),
            stop_timeout: table.read(
                "stop-timeout",
                "how long it may take to shut down",
                &STOP_TIMEOUT,
            ),
            health: table.read(
                "health",
                "a command in it that succeeds as long as it is well",
                &HEALTH,
            ),
            may_run_on: table.list("may-run-on", may_run_on, &HOSTS),
            moved_from: table.read("moved-from", moved_from, &name("alpha")),
            pci: table.list("pci", "PCI devices of its host that it is given", &PCI),
            vifs: table.tables("network", "a network card", VifDoc::read),
            disks: table.tables("disk", "a data disk", DiskDoc::read),
        };
        let args = settings.kernel_args.iter();
        let length: usize = args.map(|arg| arg.value.len() + 1).sum();
        if let (Some(first), true) = (settings.kernel_args.first(), length > MOST_ARGS) {
            let message = format!("`kernel-args` have {length} characters");
            let help = format!("a domU's kernel takes {MOST_ARGS} beside Domus's own");
            table.notes().error(&first.place, message, help);
        }
        settings
    }
}
