//! The documents of a repository as they are written: every value with its place, whatever could
//! not be read left out and reported. What values mean for each other is `check`'s to say.
// SPDX-License-Identifier: GPL-3.0-or-later

mod collect;
mod distance;
mod domu;
mod domus;
mod forms;
mod host;
mod notes;
mod recipe;
mod table;
mod words;

pub(crate) use collect::{Doc, Documents, HostDocs, collect};
pub(crate) use domu::{DiskDoc, DomUDoc, VifDoc};
pub(crate) use domus::{Defaults, FleetDoc};
pub(crate) use host::{Dom0Doc, HostDoc, MachineDoc, NetworkDoc, Written};
pub(crate) use recipe::{RecipeDoc, UserDoc};
pub(crate) use table::At;

/// How many virtual CPUs there may be: what Xen allows a guest of any kind (HVM_MAX_VCPUS).
const VCPUS: std::ops::RangeInclusive<u32> = 1..=128;
