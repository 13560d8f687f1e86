//! `pservers/HOST/domUs/NAME.toml`: a guest.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::forms::{IMAGE, KIND, MAC, SIZE, name, size};
use super::table::{At, Table};
use super::words::MOUNT;
use crate::fleet::Kind;
use crate::names::{ImageRef, Name};
use crate::units::{Mac, Size};

/// A domU as written.
#[derive(Debug)]
pub(crate) struct DomUDoc {
    pub(crate) kind: Option<At<Kind>>,
    pub(crate) image: Option<At<ImageRef>>,
    pub(crate) memory: Option<At<Size>>,
    pub(crate) vcpus: Option<At<u32>>,
    pub(crate) after: Vec<At<Name>>,
    pub(crate) vifs: Vec<VifDoc>,
    pub(crate) disks: Vec<DiskDoc>,
}

/// `[[network]]`
#[derive(Debug)]
pub(crate) struct VifDoc {
    pub(crate) bridge: Option<At<Name>>,
    pub(crate) mac: Option<At<Mac>>,
}

/// `[[disk]]`
#[derive(Debug)]
pub(crate) struct DiskDoc {
    pub(crate) name: Option<At<Name>>,
    pub(crate) size: Option<At<Size>>,
    pub(crate) mount: Option<At<String>>,
}

impl DomUDoc {
    /// Reads a domU; `path` is its document's, from which MAC addresses are suggested.
    pub(super) fn read(document: &Table<'_>, path: &str) -> Self {
        Self {
            image: document.require("image", &IMAGE),
            kind: document.read("kind", &KIND),
            memory: document.read("memory", &SIZE),
            vcpus: document.number("vcpus", super::VCPUS),
            after: document.list("after", &name("db")),
            vifs: document.tables("network", |table| VifDoc::read(table, path)),
            disks: document.tables("disk", DiskDoc::read),
        }
    }
}

impl VifDoc {
    fn read(table: &Table<'_>, path: &str) -> Self {
        table.must_have("mac", || {
            let seed = format!("{path}:{}", table.span().start);
            format!("write mac = \"{}\"", Mac::derived(&seed))
        });
        let mac = table.read("mac", &MAC);
        if let Some(At { value, span }) = mac.as_ref().filter(|mac| !mac.value.is_free_to_give()) {
            let message = format!("{value} may belong to a network card somebody sells");
            let help = "take one that begins with 00:16:3e, the prefix for Xen's guests";
            table.notes().warning(span.clone(), message, help);
        }
        Self {
            bridge: table.require("bridge", &name("lan")),
            mac,
        }
    }
}

impl DiskDoc {
    fn read(table: &Table<'_>) -> Self {
        let disk = Self {
            name: table.require("name", &name("data")),
            size: table.require("size", &size("10GiB")),
            mount: table.read("mount", &MOUNT),
        };
        if let Some(size) = disk.size.as_ref().filter(|size| size.value < SMALLEST_DISK) {
            let message = format!("{} is too little for a file system", size.value);
            let help = format!("write {SMALLEST_DISK} or more");
            table.notes().error(size.span.clone(), message, help);
        }
        disk
    }
}

/// The smallest volume on which mkfs.ext4 makes a journal.
const SMALLEST_DISK: Size = Size::from_mib(2);
