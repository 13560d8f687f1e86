// SPDX-License-Identifier: GPL-3.0-or-later
//! `pservers/HOST/domUs/NAME.toml`: a guest.

use super::forms::{
    DELAY, HOSTS, IMAGE, KIND, MAC, MEMORY, RESTART, STOP_TIMEOUT, UUID, name, size,
};
use super::place::At;
use super::table::{Table, VarsDoc};
use super::words::{DEVICE, MOUNT, VOLUME};
use crate::fleet::{Kind, Restart};
use crate::names::{Hosts, ImageRef, Name};
use crate::units::{Interval, Mac, Size};
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
    pub(crate) memory: Option<At<Size>>,
    pub(crate) vcpus: Option<At<u32>>,
    pub(crate) after: Vec<At<Name>>,
    pub(crate) delay: Option<At<Interval>>,
    pub(crate) autostart: Option<At<bool>>,
    pub(crate) restart: Option<At<Restart>>,
    pub(crate) stop_timeout: Option<At<Interval>>,
    pub(crate) may_run_on: Vec<At<Hosts>>,
    pub(crate) vifs: Vec<VifDoc>,
    pub(crate) disks: Vec<DiskDoc>,
}

/// `[[network]]`
#[derive(Debug)]
pub(crate) struct VifDoc {
    pub(crate) bridge: Option<At<Name>>,
    pub(crate) mac: Option<At<Mac>>,
    /// Whether `mac` is there, readable or not: where it is not, one is derived.
    pub(crate) has_mac: bool,
}

/// `[[disk]]`
#[derive(Debug)]
pub(crate) struct DiskDoc {
    pub(crate) name: Option<At<Name>>,
    pub(crate) size: Option<At<Size>>,
    pub(crate) mount: Option<At<String>>,
    pub(crate) volume: Option<At<String>>,
    pub(crate) device: Option<At<String>>,
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
        Self {
            image: table.require("image", "the image it starts from", &IMAGE),
            kind: table.read("kind", "how it is virtualised", &KIND),
            uuid: table.read("uuid", "its UUID, if not one derived from its name", &UUID),
            memory: table.read("memory", "its memory", &MEMORY),
            vcpus: table.number("vcpus", "its virtual CPUs", super::VCPUS),
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
            may_run_on: table.list(
                "may-run-on",
                "hosts, or all of @GROUP, on which it may run besides its own",
                &HOSTS,
            ),
            vifs: table.tables("network", "a network card", VifDoc::read),
            disks: table.tables("disk", "a data disk", DiskDoc::read),
        }
    }
}

impl VifDoc {
    fn read(table: &Table<'_>) -> Self {
        let bridge = "the host's network it is joined to";
        let about = "its address, if not one derived from the domU's name";
        let mac = table.read("mac", about, &MAC);
        if let Some(At { value, place }) = mac.as_ref().filter(|mac| !mac.value.is_free_to_give()) {
            let message = format!("{value} may belong to a network card somebody sells");
            let help = "leave `mac` out and Domus derives one, or take one with 00:16:3e";
            table.notes().warning(place, message, help);
        }
        Self {
            bridge: table.require("bridge", bridge, &name("lan")),
            has_mac: table.has("mac"),
            mac,
        }
    }
}

impl DiskDoc {
    fn read(table: &Table<'_>) -> Self {
        let volume = "an existing volume of the host's pool, if not DOMU.DISK";
        let device = "a block device of the host, if no volume: a LUN, a whole disk";
        let disk = Self {
            name: table.require("name", "what it is called", &name("data")),
            size: table.read("size", "the size it is made with", &size("10GiB")),
            mount: table.read("mount", "where the domU mounts it", &MOUNT),
            volume: table.read("volume", volume, &VOLUME),
            device: table.read("device", device, &DEVICE),
        };
        if table.has("volume") && table.has("device") {
            let message = "a disk cannot be a volume and a device".to_owned();
            let help = "keep one of the two";
            table.notes().error(&table.place(), message, help);
        }
        if !table.has("device") {
            table.must_have("size", || "write size = \"10GiB\"".to_owned());
        }
        if let Some(size) = disk.size.as_ref().filter(|size| size.value < SMALLEST_DISK) {
            let message = format!("{} is too little for a file system", size.value);
            let help = format!("write {SMALLEST_DISK} or more");
            table.notes().error(&size.place, message, help);
        }
        if let (true, Some(At { place, .. })) = (table.has("device"), &disk.size) {
            let message = "a device has the size it has".to_owned();
            table.notes().error(place, message, "take `size` out");
        }
        disk
    }
}

/// The smallest volume on which mkfs.ext4 makes a journal.
const SMALLEST_DISK: Size = Size::from_mib(2);
