//! `domus.toml`: the fleet.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::forms::{KIND, SIZE, name};
use super::table::{At, Table};
use super::words::{MIRROR, PACKAGE, RELEASE_VERSION, SUITE};
use crate::fleet::Kind;
use crate::names::Name;
use crate::units::Size;

/// The fleet as written.
#[derive(Debug)]
pub(crate) struct FleetDoc {
    pub(crate) name: Option<At<Name>>,
    pub(crate) release: Option<ReleaseDoc>,
    pub(crate) debian: Option<DebianDoc>,
    pub(crate) defaults: Defaults,
}

/// `[release]`
#[derive(Debug)]
pub(crate) struct ReleaseDoc {
    pub(crate) version: Option<At<String>>,
    pub(crate) dom0_memory: Option<At<Size>>,
    pub(crate) packages: Vec<At<String>>,
}

/// `[debian]`
#[derive(Debug)]
pub(crate) struct DebianDoc {
    pub(crate) suite: Option<At<String>>,
    pub(crate) mirror: Option<At<String>>,
}

/// `[defaults.domU]`: what a domU has that does not say so itself.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) kind: Option<At<Kind>>,
    pub(crate) memory: Option<At<Size>>,
    pub(crate) vcpus: Option<At<u32>>,
}

impl FleetDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        let read_defaults = |table: &Table<'_>| table.table("domU", Defaults::read);
        Self {
            name: document.require("fleet", &name("example")),
            release: document.table("release", ReleaseDoc::read),
            debian: document.table("debian", DebianDoc::read),
            defaults: document
                .table("defaults", read_defaults)
                .flatten()
                .unwrap_or_default(),
        }
    }
}

impl ReleaseDoc {
    fn read(table: &Table<'_>) -> Self {
        Self {
            version: table.read("version", &RELEASE_VERSION),
            dom0_memory: table.read("dom0-memory", &SIZE),
            packages: table.list("packages", &PACKAGE),
        }
    }
}

impl DebianDoc {
    fn read(table: &Table<'_>) -> Self {
        Self {
            suite: table.read("suite", &SUITE),
            mirror: table.read("mirror", &MIRROR),
        }
    }
}

impl Defaults {
    fn read(table: &Table<'_>) -> Self {
        Self {
            kind: table.read("kind", &KIND),
            memory: table.read("memory", &SIZE),
            vcpus: table.number("vcpus", super::VCPUS),
        }
    }
}
