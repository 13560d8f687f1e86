// SPDX-License-Identifier: GPL-3.0-or-later
//! The documents of one host: its own and its domUs', each laid over what it takes from the
//! fleet.

use super::parse::{self, Doc};
use super::syntax::Toml;
use super::table::Layer;
use super::vocabulary::OlderRelease;
use super::{DomUDoc, HostDoc, LayerDoc, Shared};
use crate::diagnostic::{Diagnostic, Place};
use crate::files::{Documents, parts};
use crate::names::Name;
use crate::show::Origin;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    toml: Option<Toml<'t>>,
}

impl<'t> Parsed<'t> {
    fn of(file: &Arc<str>, content: Result<&'t [u8], &str>, notes: &mut Vec<Diagnostic>) -> Self {
        let toml = parse::parse(file, content, notes);
        let file = Arc::clone(file);
        Self { file, toml }
    }

    fn layer(&self) -> Option<Layer<'_>> {
        Some(Layer::of(&self.file, self.toml.as_ref()?))
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
        let host = parse_host(files, notes);
        let layer = host.as_ref().and_then(Parsed::layer);
        let groups = groups(layer);
        let older = older_release(shared, layer, &groups);
        let older = older.as_deref();
        let mut docs = Self {
            directory: directory.to_owned(),
            host: None,
            domus: BTreeMap::new(),
            layer: LayerDoc::read(directory, &own, files, older, notes),
            vservers: BTreeMap::new(),
        };
        if let (Some(older), Some(host)) = (older, layer) {
            shared.prove_read_by(older, &own, notes);
            older.prove("host", host, &own, notes);
        }
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
        for (stem, file, content) in domus(files, notes) {
            let parsed = Parsed::of(file, content, notes);
            let name = parse::name_of("domU's file", stem, &parsed.file, notes);
            let own_layer = parsed.layer();
            if let (Some(older), Some(domu)) = (older, own_layer) {
                older.prove("domU", domu, &own, notes);
            }
            let body = own_layer.and_then(|own| parse::read(own, &below, notes, DomUDoc::read));
            let path = parsed.file;
            if let Some(files) = vservers.get(stem) {
                let layer = LayerDoc::read(stem, format!("vservers/{stem}"), files, older, notes);
                docs.vservers.insert(stem.to_owned(), layer);
            }
            docs.domus.insert(stem.to_owned(), Doc { path, name, body });
        }
        docs
    }

    /// Where each setting of the host, or of its domU of that name, is written. Of variables that
    /// are in several documents the last counts.
    pub(crate) fn trace(shared: &Shared<'_>, files: &Documents, domu: Option<&str>) -> Vec<Origin> {
        let (host, domus) = (
            parse_host(files, &mut Vec::new()),
            domus(files, &mut Vec::new()),
        );
        let layer = host.as_ref().and_then(Parsed::layer);
        let groups = groups(layer);
        let mut origins = match domu {
            None => {
                let below = shared.below(&groups, "host");
                layer.map_or(Vec::new(), |own| parse::trace(own, &below, HostDoc::read))
            }
            Some(domu) => {
                let below = below_domus(shared, layer, &groups);
                let found = domus.into_iter().find(|(stem, ..)| *stem == domu);
                let parsed =
                    found.map(|(_, file, content)| Parsed::of(file, content, &mut Vec::new()));
                let own = parsed.as_ref().and_then(Parsed::layer);
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

/// The release of a host, if it cannot read all that this Domus can.
fn older_release(
    shared: &Shared<'_>,
    host: Option<Layer<'_>>,
    groups: &[Name],
) -> Option<Arc<OlderRelease>> {
    let below = shared.below(groups, "host");
    let mut layers = host.iter().chain(&below);
    let release = layers.find_map(|layer| layer.entries.get("release"));
    shared.older(release.and_then(|release| release.as_str()))
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
    let Ok(toml) = Toml::parse(text) else {
        return Vec::new();
    };
    groups(Some(Layer::of(&Arc::from("host.toml"), &toml)))
}

/// The groups of a host, which decide what lies below it. What is wrong with them is noted when
/// the host is read.
fn groups(host: Option<Layer<'_>>) -> Vec<Name> {
    let groups = host.and_then(|host| host.entries.get("groups"));
    let groups = groups.and_then(|groups| groups.as_array());
    let groups = groups.into_iter().flatten();
    groups
        .filter_map(|group| group.as_str()?.parse().ok())
        .collect()
}

/// The TOML of a host's own document.
fn parse_host<'t>(files: &'t Documents, notes: &mut Vec<Diagnostic>) -> Option<Parsed<'t>> {
    let is_host = |path: &str| {
        path.ends_with("/host.toml") && matches!(parts(path), [_, _, Some("host.toml"), None, _])
    };
    let found = files.iter().find(|(path, _)| is_host(path));
    found.map(|(file, content)| Parsed::of(file, content, notes))
}

/// A domU by what its path calls it, with its document.
type OfDomU<'t> = (&'t str, &'t Arc<str>, Result<&'t [u8], &'t str>);

/// The documents of a host's domUs. They are parsed one after another: of one piece of memory each
/// has its turn.
fn domus<'t>(files: &'t Documents, notes: &mut Vec<Diagnostic>) -> Vec<OfDomU<'t>> {
    let mut domus = Vec::new();
    for (file, content) in files.iter() {
        match parts(file) {
            [_, _, Some("domUs"), Some(name), None] => {
                domus.push((parse::stem(name), file, content));
            }
            [_, _, Some(directory), Some(_), None] if directory != "etc" => {
                let message = format!("this file is in {directory}/, where nobody looks for it");
                let note = Place::whole(Arc::clone(file)).error(message);
                notes.push(note.help("call the directory domUs"));
            }
            _ => {}
        }
    }
    domus
}
