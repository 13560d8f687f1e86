// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands of `domus`, one module each.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod explain;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod iso;
pub(crate) mod keys;
pub(crate) mod media;
pub(crate) mod moving;
pub(crate) mod plan;
pub(crate) mod publish;
pub(crate) mod rehearse;
pub(crate) mod schema;
pub(crate) mod secret;
pub(crate) mod show;
