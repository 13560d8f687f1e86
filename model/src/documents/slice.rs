// SPDX-License-Identifier: GPL-3.0-or-later
//! The documents of one host: its own and its domUs', each laid over what it takes from the
//! fleet.

use super::parse::{self, Doc};
use super::table::Layer;
use super::{DomUDoc, HostDoc, LayerDoc, Shared};
use crate::diagnostic::{Diagnostic, Place};
use crate::files::{Documents, parts};
use crate::names::Name;
use crate::show::Origin;
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::de::DeTable;

/// A host's documents.
#[derive(Debug)]
pub(crate) struct HostDocs {
    /// What its directory is called, be that a name or not.
    pub(crate) directory: String,
    /// `host.toml`, if there is one.
    pub(crate) host: Option<Doc<HostDoc>>,
    /// Its domUs by what their paths call them, be that a name or not.
    pub(crate) domus: BTreeMap<String, Doc<DomUDoc>>,
    /// Its own layer of `/etc`.
    pub(crate) layer: LayerDoc,
    /// Those of its domUs that have one, by what their directories are called.
    pub(crate) vservers: BTreeMap<String, LayerDoc>,
}

/// The TOML of a document, if it has any.
struct Parsed<'t> {
    file: Arc<str>,
    entries: Option<DeTable<'t>>,
}

impl Parsed<'_> {
    fn layer(&self) -> Option<Layer<'_>> {
        let file = &self.file;
        let entries = self.entries.as_ref()?;
        Some(Layer { file, entries })
    }
}

impl HostDocs {
    /// Reads them, and notes what cannot be read.
    pub(crate) fn read(
        shared: &Shared<'_>,
        directory: &str,
        files: &Documents,
        vservers: &BTreeMap<String, Documents>,
        notes: &mut Vec<Diagnostic>,
    ) -> Self {
        let own = format!("pservers/{directory}");
        let mut docs = Self {
            directory: directory.to_owned(),
            host: None,
            domus: BTreeMap::new(),
            layer: LayerDoc::read(directory, own, files, notes),
            vservers: BTreeMap::new(),
        };
        let (host, domus) = parse_all(files, notes);
        let layer = host.as_ref().and_then(Parsed::layer);
        let groups = groups(layer);
        if let Some(parsed) = &host {
            let below = shared.below(&groups, "host");
            let body = layer.and_then(|own| parse::read(own, &below, notes, HostDoc::read));
            docs.host = Some(Doc {
                path: Arc::clone(&parsed.file),
                name: parse::name_of("host's directory", directory, &parsed.file, notes),
                body,
            });
        }
        let below = below_domus(shared, layer, &groups);
        for (stem, parsed) in domus {
            let name = parse::name_of("domU's file", &stem, &parsed.file, notes);
            let own = parsed.layer();
            let body = own.and_then(|own| parse::read(own, &below, notes, DomUDoc::read));
            let path = parsed.file;
            if let Some(files) = vservers.get(&stem) {
                let layer = LayerDoc::read(&stem, format!("vservers/{stem}"), files, notes);
                docs.vservers.insert(stem.clone(), layer);
            }
            docs.domus.insert(stem, Doc { path, name, body });
        }
        docs
    }

    /// Where each setting of the host, or of its domU of that name, is written. Of variables that
    /// are in several documents the last counts.
    pub(crate) fn trace(shared: &Shared<'_>, files: &Documents, domu: Option<&str>) -> Vec<Origin> {
        let (host, domus) = parse_all(files, &mut Vec::new());
        let layer = host.as_ref().and_then(Parsed::layer);
        let groups = groups(layer);
        let mut origins = match domu {
            None => {
                let below = shared.below(&groups, "host");
                layer.map_or(Vec::new(), |own| parse::trace(own, &below, HostDoc::read))
            }
            Some(domu) => {
                let below = below_domus(shared, layer, &groups);
                let own = domus.get(domu).and_then(Parsed::layer);
                own.map_or(Vec::new(), |own| parse::trace(own, &below, DomUDoc::read))
            }
        };
        let own = origins.iter().any(|origin| origin.setting == "release");
        let release = shared
            .fleet()
            .and_then(|fleet| fleet.release.version.as_ref());
        if let (None, false, Some(release)) = (domu, own, release) {
            let (setting, place) = ("release".to_owned(), release.place.clone());
            origins.push(Origin { setting, place });
        }
        let docs = Self::read(shared, "", files, &BTreeMap::new(), &mut Vec::new());
        let of_host = docs.host.iter().filter_map(|doc| doc.body.as_ref());
        let of_host = of_host.map(|host| &host.vars);
        let of_domu = domu.and_then(|domu| Some(&docs.domus.get(domu)?.body.as_ref()?.vars));
        for (name, var) in shared.vars(&groups).chain(of_host).chain(of_domu).flatten() {
            let setting = format!("vars.{name}");
            origins.retain(|origin| origin.setting != setting);
            let place = var.place.clone();
            origins.push(Origin { setting, place });
        }
        origins
    }
}

/// What lies below the domUs of a host.
fn below_domus<'l>(
    shared: &'l Shared<'_>,
    host: Option<Layer<'l>>,
    groups: &[Name],
) -> Vec<Layer<'l>> {
    let of_host = host.and_then(|host| host.below("domU"));
    let of_groups = shared.below(groups, "domU");
    of_host.into_iter().chain(of_groups).collect()
}

/// The groups of a host, as far as its document can be read: what a commit has for it is found by
/// them before anything is proved.
pub fn groups_of(host_toml: &[u8]) -> Vec<Name> {
    let text = std::str::from_utf8(host_toml).unwrap_or_default();
    let Ok(entries) = DeTable::parse(text) else {
        return Vec::new();
    };
    let (file, entries) = (&Arc::from("host.toml"), entries.get_ref());
    groups(Some(Layer { file, entries }))
}

/// The groups of a host, which decide what lies below it. What is wrong with them is noted when
/// the host is read.
fn groups(host: Option<Layer<'_>>) -> Vec<Name> {
    let groups = host.and_then(|host| host.entries.get("groups"));
    let groups = groups.and_then(|groups| groups.get_ref().as_array());
    let groups = groups.into_iter().flatten();
    groups
        .filter_map(|group| group.get_ref().as_str()?.parse().ok())
        .collect()
}

/// The TOML of all documents of a host.
fn parse_all<'t>(
    files: &'t Documents,
    notes: &mut Vec<Diagnostic>,
) -> (Option<Parsed<'t>>, BTreeMap<String, Parsed<'t>>) {
    let mut host = None;
    let mut domus = BTreeMap::new();
    for (path, content) in files.iter() {
        let file = Arc::clone(path);
        match parts(path) {
            [_, _, Some("host.toml"), None, _] => {
                let entries = parse::parse(&file, content, notes);
                host = Some(Parsed { file, entries });
            }
            [_, _, Some("domUs"), Some(name), None] => {
                let entries = parse::parse(&file, content, notes);
                domus.insert(parse::stem(name).to_owned(), Parsed { file, entries });
            }
            [_, _, Some(directory), Some(_), None] if directory != "etc" => {
                let message = format!("this file is in {directory}/, where nobody looks for it");
                let note = Place::whole(file).error(message);
                notes.push(note.help("call the directory domUs"));
            }
            _ => {}
        }
    }
    (host, domus)
}
