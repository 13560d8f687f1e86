// SPDX-License-Identifier: GPL-3.0-or-later
//! One layer as written: an `etc/` and the `etc.toml` beside it.

use super::etc::EtcDoc;
use super::parse;
use super::place::At;
use super::table::Layer;
use super::vocabulary::OlderRelease;
use crate::diagnostic::{Diagnostic, Place};
use crate::files::{Documents, Leaf, SECRET, TEMPLATE};
use crate::secrets::Recipients;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A layer of `/etc`.
#[derive(Debug)]
pub(crate) struct LayerDoc {
    /// What people call it: `global`, `@web`, `alpha`.
    pub(crate) name: String,
    /// Its directory in the repository, without a slash at the end.
    pub(crate) directory: String,
    /// What its `etc/` holds, by the path below that.
    pub(crate) leaves: BTreeMap<String, (Arc<str>, Leaf)>,
    /// The templates among them that could be read.
    pub(crate) templates: BTreeMap<String, String>,
    /// Whom its secrets are for, or why that cannot be said.
    pub(crate) recipients: BTreeMap<String, Result<Recipients, String>>,
    /// What `etc.toml` says.
    pub(crate) doc: EtcDoc,
}

impl LayerDoc {
    /// A layer with nothing in it.
    pub(super) fn empty(name: impl Into<String>, directory: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            directory: directory.into(),
            leaves: BTreeMap::new(),
            templates: BTreeMap::new(),
            recipients: BTreeMap::new(),
            doc: EtcDoc::default(),
        }
    }

    /// Reads the layer in `directory`, and notes what cannot be read: by anybody, or by the `older`
    /// release that takes it.
    pub(crate) fn read(
        name: impl Into<String>,
        directory: impl Into<String>,
        files: &Documents,
        older: Option<&OlderRelease>,
        notes: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut layer = Self::empty(name, directory);
        let below = format!("{}/etc/", layer.directory);
        for (path, leaf) in files.leaves(&below) {
            let inside = &path[below.len()..];
            if inside.ends_with(TEMPLATE)
                && let Some((file, content)) = files.get(path)
            {
                match parse::text(file, content) {
                    Ok(text) => drop(layer.templates.insert(inside.to_owned(), text.to_owned())),
                    Err(problem) => notes.push(problem),
                }
            }
            let leaf = (Arc::clone(path), *leaf);
            layer.leaves.insert(inside.to_owned(), leaf);
        }
        if let Some((file, content)) = files.get(&format!("{}/etc.toml", layer.directory)) {
            let toml = parse::parse(file, content, notes);
            let doc = toml.and_then(|toml| {
                let own = Layer::of(file, &toml);
                if let Some(older) = older {
                    older.prove("etc", own, &layer.name, notes);
                }
                parse::read(own, &[], notes, EtcDoc::read)
            });
            layer.doc = doc.unwrap_or_default();
        }
        for At { value, .. } in &layer.doc.secrets {
            if let Some((_, content)) = files.get(&format!("{below}{value}")) {
                let content = content.map_err(str::to_owned);
                let recipients =
                    content.and_then(|file| Recipients::parse(file).map_err(str::to_owned));
                layer.recipients.insert(value.clone(), recipients);
            }
        }
        layer
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.doc.remove.is_empty() && self.doc.files.is_empty()
    }

    /// Where a file of the layer is, as a whole.
    pub(crate) fn place(&self, inside: &str) -> Place {
        match self.leaves.get(inside) {
            Some((path, _)) => Place::new(path, 0..0),
            None => Place::whole(format!("{}/etc/{inside}", self.directory)),
        }
    }

    /// Whether `etc.toml` says that this file is encrypted.
    pub(crate) fn is_secret(&self, inside: &str) -> bool {
        let mut secrets = self.doc.secrets.iter();
        secrets.any(|secret| secret.value == inside)
    }

    /// The path below `/etc` that a file of the layer has there.
    pub(crate) fn target<'i>(&self, inside: &'i str) -> &'i str {
        if self.is_secret(inside) {
            return inside.strip_suffix(SECRET).unwrap_or(inside);
        }
        inside.strip_suffix(TEMPLATE).unwrap_or(inside)
    }
}
