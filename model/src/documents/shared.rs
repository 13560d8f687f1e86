// SPDX-License-Identifier: GPL-3.0-or-later
//! The documents that all hosts share: the fleet's own, and the recipes of images.

use super::parse::{self, Doc};
use super::syntax::Toml;
use super::table::Layer;
use super::vocabulary::OlderRelease;
use super::{FleetDoc, HostsDoc, LayerDoc, LockDoc, RecipeDoc, VarsDoc, Vocabulary, read_trust};
use super::{lock, media};
use crate::contents::EtcList;
use crate::diagnostic::{Diagnostic, Place};
use crate::files::Documents;
use crate::lock::LOCK;
use crate::lower;
use crate::media::MEDIA;
use crate::names::Name;
use crate::trust::{self, Chain, Trust};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The documents that all hosts share.
#[derive(Debug)]
pub(crate) struct Shared<'t> {
    pub(crate) fleet: Option<Doc<FleetDoc>>,
    /// The TOML of the fleet's document, in which hosts and domUs find what they take from it.
    toml: Option<Toml<'t>>,
    /// `global/hosts`, if there is one.
    pub(crate) hosts: Option<HostsDoc>,
    /// The layer of all hosts and domUs.
    pub(crate) global: LayerDoc,
    /// Layers of groups by what their directories are called, be that a group or not.
    pub(crate) groups: BTreeMap<String, LayerDoc>,
    /// Recipes by what their files are called, be that a name or not.
    pub(crate) images: BTreeMap<String, Doc<RecipeDoc>>,
    /// Who may sign what, if somebody has to.
    pub(crate) trust: Option<SignedTrust>,
    /// What names stand for, if somebody has written that.
    pub(crate) lock: Option<LockDoc>,
    /// What images and releases have in `/etc`, by their names.
    pub(crate) lists: BTreeMap<String, EtcList>,
    /// Releases that cannot read all that this Domus can, by version.
    older: BTreeMap<String, Arc<OlderRelease>>,
}

/// `trust.toml`, and how it came to be.
#[derive(Debug)]
pub(crate) struct SignedTrust {
    pub(crate) file: Arc<str>,
    pub(crate) trust: Trust,
    pub(crate) chain: Result<Chain, String>,
}

impl SignedTrust {
    fn read(
        file: Arc<str>,
        content: Result<&[u8], &str>,
        files: &Documents,
        notes: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let trust = read_trust(&file, content, notes)?;
        let below = format!("{}/", trust::EARLIER);
        let earlier = files
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(&below));
        let chain = Chain::read(earlier, |path| match files.get(path) {
            Some((_, Ok(content))) => Ok(Some(content.to_owned())),
            Some((_, Err(reason))) => Err(format!("{path} {reason}")),
            None => Ok(None),
        });
        Some(Self {
            file,
            trust,
            chain: chain.map(Option::unwrap_or_default),
        })
    }
}

impl<'t> Shared<'t> {
    /// Reads them, and notes what cannot be read.
    pub(crate) fn read(files: &'t Documents, notes: &mut Vec<Diagnostic>) -> Self {
        let mut shared = Self {
            fleet: None,
            toml: None,
            hosts: None,
            global: LayerDoc::empty("global", "global"),
            groups: BTreeMap::new(),
            images: BTreeMap::new(),
            trust: None,
            lock: None,
            lists: BTreeMap::new(),
            older: older_releases(files, notes),
        };
        for (path, content) in files.iter() {
            let file = Arc::clone(path);
            if &**path == "domus.toml" {
                shared.toml = parse::parse(&file, content, notes);
                let body = shared.toml.as_ref().and_then(|toml| {
                    let own = Layer::of(&file, toml);
                    parse::read(own, &[], notes, FleetDoc::read)
                });
                shared.fleet = Some(Doc {
                    path: file,
                    name: None,
                    body,
                });
            } else if &**path == LOCK {
                shared.lock = lock::read(&file, content, notes);
            } else if &**path == MEDIA {
                // It says nothing that anything else depends on, but it must be readable.
                media::read(&file, content, notes);
            } else if let Some(name) = EtcList::name_of(path) {
                let list = list(&file, content).map_err(|problem| notes.push(problem));
                shared
                    .lists
                    .extend(list.map(|list| (name.to_owned(), list)));
            } else if &**path == "global/hosts" {
                let text = parse::text(&file, content).map_err(|problem| notes.push(problem));
                shared.hosts = text.ok().map(|text| HostsDoc::read(&file, text, notes));
            } else if &**path == trust::DOCUMENT {
                shared.trust = SignedTrust::read(file, content, files, notes);
            } else if let Some(file_name) = path.strip_prefix("images/") {
                let stem = parse::stem(file_name);
                let name = parse::name_of("recipe's file", stem, &file, notes);
                let toml = parse::parse(&file, content, notes);
                let body = toml.and_then(|toml| {
                    let own = Layer::of(&file, &toml);
                    parse::read(own, &[], notes, RecipeDoc::read)
                });
                let doc = Doc {
                    path: file,
                    name,
                    body,
                };
                shared.images.insert(stem.to_owned(), doc);
            }
        }
        shared.read_layers(files, notes);
        shared
    }

    /// Reads what all hosts and those of a group have in `/etc`.
    fn read_layers(&mut self, files: &Documents, notes: &mut Vec<Diagnostic>) {
        let older = self.older(None);
        self.global = LayerDoc::read("global", "global", files, older.as_deref(), notes);
        for group in files.directories("groups/") {
            let (name, directory) = (format!("@{group}"), format!("groups/{group}"));
            let layer = LayerDoc::read(name, directory, files, older.as_deref(), notes);
            self.groups.insert(group.to_owned(), layer);
        }
    }

    /// The release of that version, else the fleet's, if it cannot read all that this Domus can.
    pub(super) fn older(&self, version: Option<&str>) -> Option<Arc<OlderRelease>> {
        let own = || self.fleet().map(lower::release_version);
        let version = version.map(str::to_owned).or_else(own)?;
        self.older.get(&version).cloned()
    }

    /// Notes what this release cannot read of the fleet's own document.
    pub(super) fn prove_read_by(
        &self,
        older: &OlderRelease,
        whom: &str,
        notes: &mut Vec<Diagnostic>,
    ) {
        if let (Some(doc), Some(toml)) = (&self.fleet, &self.toml) {
            older.prove("domus", Layer::of(&doc.path, toml), whom, notes);
        }
    }

    /// What the fleet's document says, if it could be read.
    pub(crate) fn fleet(&self) -> Option<&FleetDoc> {
        self.fleet.as_ref()?.body.as_ref()
    }

    /// The variables of the fleet and of these groups of it, the most general first.
    pub(crate) fn vars(&self, groups: &[Name]) -> impl Iterator<Item = &VarsDoc> {
        let fleet = self.fleet();
        let of_group = move |group: &Name| {
            let mut all = fleet?.groups.iter();
            let found = all.find(|(name, _)| name.value == *group);
            found.map(|(_, doc)| &doc.vars)
        };
        let of_groups: Vec<&VarsDoc> = groups.iter().filter_map(of_group).collect();
        let of_fleet = fleet.map(|fleet| &fleet.vars);
        of_fleet.into_iter().chain(of_groups)
    }

    /// What lies below a host of these groups, or with `part` "domU" below its domUs: the groups,
    /// the last first, then the fleet's defaults.
    pub(super) fn below(&self, groups: &[Name], part: &str) -> Vec<Layer<'_>> {
        let (Some(doc), Some(toml)) = (&self.fleet, &self.toml) else {
            return Vec::new();
        };
        let fleet = Layer::of(&doc.path, toml);
        let all = fleet.below("groups");
        let of_group = |group: &Name| all.as_ref()?.below(group.as_str())?.below(part);
        let mut layers: Vec<Layer<'_>> = groups.iter().rev().filter_map(of_group).collect();
        let defaults = fleet.below("defaults");
        layers.extend(defaults.and_then(|defaults| defaults.below(part)));
        layers
    }
}

/// The releases among those with a vocabulary that cannot read all that this Domus can.
fn older_releases(
    files: &Documents,
    notes: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Arc<OlderRelease>> {
    let mut older = BTreeMap::new();
    let mut now = None;
    for (path, content) in files.iter() {
        let Some(version) = Vocabulary::release_of(path) else {
            continue;
        };
        let now = now.get_or_insert_with(|| Arc::new(Vocabulary::of_this_domus()));
        match content.map(Vocabulary::parse) {
            Ok(Some(reads)) => {
                let release = OlderRelease::new(version, reads, now).map(Arc::new);
                older.extend(release.map(|release| (version.to_owned(), release)));
            }
            _ => {
                let place = Place::whole(Arc::clone(path));
                let message = format!("what release {version} can read is not known");
                let note = place.warning(message);
                notes.push(note.help(
                    "`domus iso build` writes this file; one of a newer Domus is read by that",
                ));
            }
        }
    }
    older
}

/// The list in the file at `path`.
fn list(path: &Arc<str>, content: Result<&[u8], &str>) -> Result<EtcList, Diagnostic> {
    let text = parse::text(path, content)?;
    EtcList::parse(text).map_err(|number| {
        let before = text.split_inclusive('\n').take(number);
        let start: usize = before.map(str::len).sum();
        let line = text[start..].lines().next().unwrap_or_default();
        Place::new(
            path,
            start..start + line.len().max(1).min(text.len() - start),
        )
        .error("this line is no path below /etc, or not in order")
        .help("delete this file, and build the image or ISO again, which writes it")
    })
}
