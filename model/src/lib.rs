// SPDX-License-Identifier: GPL-3.0-or-later
//! The thinking of Domus: documents to a proved [`fleet::Fleet`] or diagnostics. Pure: no file is
//! read here, no program run, no clock asked.

mod bad_value;
pub mod boot;
pub mod changes;
mod check;
pub mod console_log;
pub mod contents;
pub mod date;
pub mod diagnostic;
pub mod discovery;
pub mod disk;
pub mod distance;
mod documents;
pub mod domain;
pub mod etc;
pub mod explain;
pub mod files;
pub mod filter;
pub mod fleet;
pub mod guest;
pub mod layers;
pub mod load;
pub mod lock;
mod lower;
pub mod manifest;
pub mod marker;
pub mod media;
pub mod names;
pub mod network;
pub mod plan;
pub mod reconcile;
pub mod refresh;
pub mod rehearsal;
pub mod rendered;
pub mod replace;
pub mod report;
pub mod schema;
pub mod secrets;
pub mod secure_boot;
pub mod selector;
pub mod show;
pub mod slots;
pub mod started;
pub mod status;
pub mod storage;
pub mod table;
pub mod trial;
pub mod trust;
pub mod tune;
pub mod units;
pub mod verity;
pub mod volumes;
pub mod vouch;
pub mod xl;

pub use bad_value::BadValue;
