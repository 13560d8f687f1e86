// SPDX-License-Identifier: GPL-3.0-or-later
//! What a host or domU comes to when all that it takes from elsewhere is in, and where each
//! setting is written.

use crate::diagnostic::Place;
use crate::documents::HostDocs;
use crate::load::{Documents, Frame};

/// A setting and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its path in the document: `memory`, `network[0].bridge`, `networks.lan.ports`.
    pub setting: String,
    /// Where it is written; a setting that is nowhere written has Domus's own default.
    pub place: Place,
}

/// Where the settings of the host of these documents are written, or with `domu` those of its domU
/// of that name: in the order of their paths.
pub fn origins(frame: &Frame<'_>, documents: &Documents, domu: Option<&str>) -> Vec<Origin> {
    let mut origins = HostDocs::trace(frame.shared(), documents, domu);
    origins.sort_by(|a, b| a.setting.cmp(&b.setting));
    origins.dedup_by(|a, b| a.setting == b.setting);
    origins
}
