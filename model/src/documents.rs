// SPDX-License-Identifier: GPL-3.0-or-later
//! The documents of a repository as they are written: every value with its place, whatever could
//! not be read left out and reported. What values mean for each other is `check`'s to say.

mod addresses;
mod domu;
mod domus;
mod etc;
mod forms;
mod host;
mod hosts;
mod layer;
mod lock;
mod media;
mod network;
mod notes;
mod parse;
mod place;
mod recipe;
mod shape;
mod shared;
mod slice;
mod storage;
mod syntax;
mod table;
mod trust;
mod vocabulary;
mod words;

pub(crate) use domu::{DiskDoc, DomUDoc, DomUSettings, VifDoc};
pub(crate) use domus::{ConfigDoc, FleetDoc};
pub(crate) use host::{Dom0Doc, HealthDoc, HostDoc, HostSettings, MachineDoc};
pub(crate) use hosts::HostsDoc;
pub(crate) use layer::LayerDoc;
pub(crate) use lock::{LockDoc, read as read_lock};
pub(crate) use media::read as read_media;
pub(crate) use network::{FirewallDoc, ForwardDoc, NetworkDoc, RouteDoc, Written};
pub(crate) use parse::Doc;
pub(crate) use place::At;
pub(crate) use recipe::{ForeignDoc, RecipeDoc, UserDoc};
pub(crate) use shape::{Key, Keys, Shape};
pub(crate) use shared::Shared;
pub(crate) use slice::HostDocs;
pub use slice::groups_of;
pub(crate) use storage::StorageDoc;
pub(crate) use table::VarsDoc;
pub(crate) use trust::read_trust;
pub use vocabulary::Vocabulary;

/// How many virtual CPUs there may be: what Xen allows a guest of any kind (HVM_MAX_VCPUS).
pub(crate) const VCPUS: std::ops::RangeInclusive<u32> = 1..=128;

/// How many logical CPUs a host may have: what Xen can be built for (`NR_CPUS` in xen/arch/Kconfig).
pub(crate) const CPUS: std::ops::RangeInclusive<u32> = 1..=16383;

/// Whether a document takes these as a domU's `memory` or an argument of its kernel, the `uuid` of a domU or machine, the
/// `device` of a disk, a machine's `serial` or a disk of `[storage]`: for those who write documents.
pub(crate) mod takes {
    use super::{forms, storage, words};
    use crate::bad_value::BadValue;

    pub(crate) fn memory(text: &str) -> Result<(), BadValue> {
        (forms::MEMORY.parse)(text).map(drop)
    }

    pub(crate) fn kernel_arg(text: &str) -> Result<(), BadValue> {
        super::domu::takes_kernel_arg(text)
    }

    pub(crate) fn uuid(text: &str) -> Result<uuid::Uuid, BadValue> {
        (forms::UUID.parse)(text)
    }

    pub(crate) fn serial(text: &str) -> Result<String, BadValue> {
        (words::SERIAL.parse)(text)
    }

    pub(crate) fn disk(text: &str) -> Result<String, BadValue> {
        (storage::DISK.parse)(text)
    }

    pub(crate) fn device(text: &str) -> bool {
        (words::DEVICE.parse)(text).is_ok()
    }
}

/// The kinds of documents: what editors call their schema, and their keys.
pub(crate) fn describe() -> [(&'static str, Keys); 8] {
    let domus = table::Table::describe(true, |table| drop(FleetDoc::read(table)));
    let host = table::Table::describe(false, |table| drop(HostDoc::read(table)));
    let domu = table::Table::describe(false, |table| drop(DomUDoc::read(table)));
    let etc = table::Table::describe(true, |table| drop(etc::EtcDoc::read(table)));
    let image = table::Table::describe(true, |table| drop(RecipeDoc::read(table)));
    let trust = table::Table::describe(true, |table| drop(trust::TrustDoc::read(table)));
    let lock = table::Table::describe(true, |table| drop(LockDoc::read(table)));
    let media = table::Table::describe(true, |table| drop(media::MediaDoc::read(table)));
    [
        ("domus", domus),
        ("host", host),
        ("domU", domu),
        ("etc", etc),
        ("image", image),
        ("trust", trust),
        ("lock", lock),
        ("media", media),
    ]
}
