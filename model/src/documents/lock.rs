// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus.lock`: digests of images and releases.

use super::forms::{DIGEST, IMAGE};
use super::parse;
use super::place::At;
use super::table::{Layer, Table};
use super::words::RELEASE_VERSION;
use crate::diagnostic::Diagnostic;
use crate::lock::{Lock, Sha256};
use crate::names::ImageRef;
use std::sync::Arc;

/// The lock as written.
#[derive(Debug)]
pub(crate) struct LockDoc {
    pub(crate) images: Vec<(At<ImageRef>, At<Sha256>)>,
    pub(crate) releases: Vec<(At<String>, At<Sha256>)>,
}

impl LockDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        let images = "digests of images' manifest.json, by NAME@REVISION";
        let releases = "ids of releases, by their version";
        Self {
            images: document.named("images", images, &IMAGE, &DIGEST),
            releases: document.named("releases", releases, &RELEASE_VERSION, &DIGEST),
        }
    }

    /// What it says.
    pub(crate) fn lock(&self) -> Lock {
        let images = self.images.iter();
        let images = images.map(|(image, digest)| (image.value.clone(), digest.value));
        let releases = self.releases.iter();
        let releases = releases.map(|(version, digest)| (version.value.clone(), digest.value));
        Lock {
            images: images.collect(),
            releases: releases.collect(),
        }
    }
}

/// Reads the document, and notes what cannot be read.
pub(crate) fn read(
    file: &Arc<str>,
    content: Result<&[u8], &str>,
    notes: &mut Vec<Diagnostic>,
) -> Option<LockDoc> {
    let toml = parse::parse(file, content, notes)?;
    let own = Layer::of(file, &toml);
    parse::read(own, &[], notes, LockDoc::read)
}
