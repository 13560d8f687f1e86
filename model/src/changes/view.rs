// SPDX-License-Identifier: GPL-3.0-or-later
//! What is seen in `/etc` when all layers lie over each other, and what differs between two.

use super::files::Fate;
use super::impact::Rule;
use super::{Step, Subject};
use crate::files::BlobId;
use crate::layers::{Attributes, Body, File, Layer, above};
use std::collections::{BTreeMap, BTreeSet};

/// What is seen at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen<'l> {
    /// What a layer gives.
    Given {
        file: &'l File,
        /// Its owner and mode, as far as layers say: its own, or those of what it covers.
        attributes: Attributes,
        /// The file in the repository that says so.
        said_by: String,
    },
    /// Nothing of what lower layers have; the file in the repository that sees to it.
    Removed(String),
}

/// What is seen in `/etc`, as far as these layers have a say.
fn view(layers: &[Layer]) -> BTreeMap<&str, Seen<'_>> {
    let mut seen: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    for layer in layers {
        // What it gives takes owners and modes of what it covers, be that removed by the layer or not.
        let files = layer.files.iter();
        let files = files.map(|(path, file)| (path, give(layer, path, file, &seen)));
        let files: Vec<(&String, Seen<'_>)> = files.collect();
        seen.retain(|path, _| !layer.removes(path));
        let removed = layer.remove.iter();
        seen.extend(removed.map(|path| (path.as_str(), Seen::Removed(document(layer)))));
        for (path, given) in files {
            for directory in above(path) {
                // A directory lies over a file, which still hides what is below that.
                if let Some(Seen::Given { file, .. }) = seen.get(directory) {
                    let hidden = Seen::Removed(file.source.clone());
                    seen.insert(directory, hidden);
                }
            }
            let below = format!("{path}/");
            seen.retain(|path, _| !path.starts_with(&below));
            seen.insert(path, given);
        }
    }
    seen
}

/// What a layer gives over what is seen below it, of which it takes owner and mode where it says
/// nothing itself.
fn give<'l>(
    layer: &'l Layer,
    path: &str,
    file: &'l File,
    seen: &BTreeMap<&str, Seen<'_>>,
) -> Seen<'l> {
    let own = layer.attributes.get(path);
    let mut attributes = own.cloned().unwrap_or_default();
    let mut said_by = document(layer);
    let hides = |path: &str| match seen.get(path) {
        Some(Seen::Removed(by)) => Some(by),
        Some(Seen::Given { file, .. }) => Some(&file.source),
        None => None,
    };
    match (&file.body, seen.get(path)) {
        (Body::Link, _) => {}
        (Body::Secret, _) => attributes.mode = attributes.mode.or(Some(SECRET)),
        (_, Some(Seen::Given { file: covered, .. })) if covered.body == Body::Link => {}
        (
            _,
            Some(Seen::Given {
                attributes: its,
                said_by: by,
                ..
            }),
        ) => {
            attributes.owner = attributes.owner.or_else(|| its.owner.clone());
            attributes.mode = attributes.mode.or(its.mode.map(|mode| mode & 0o666));
            if own.is_none() && *its != Attributes::default() {
                by.clone_into(&mut said_by);
            }
        }
        // What the image has there is not seen, so it is not covered either.
        (_, below) => {
            let by = match below {
                Some(_) => hides(path),
                None => above(path).find_map(hides),
            };
            if let Some(by) = by {
                attributes.mode = attributes.mode.or(Some(NEW));
                if own.is_none() {
                    by.clone_into(&mut said_by);
                }
            }
        }
    }
    Seen::Given {
        file,
        attributes,
        said_by,
    }
}

/// The mode of a secret.
const SECRET: u32 = 0o600;

/// The mode of a file that covers none, for all but who may run it.
const NEW: u32 = 0o644;

/// Whether both are the same, whichever layer they come from.
fn is_same(from: &Seen<'_>, to: &Seen<'_>) -> bool {
    match (from, to) {
        (
            Seen::Given {
                file: from,
                attributes: of_from,
                ..
            },
            Seen::Given {
                file: to,
                attributes: of_to,
                ..
            },
        ) => has_same_content(from, to) && of_from == of_to,
        (Seen::Removed(_), Seen::Removed(_)) => true,
        _ => false,
    }
}

fn has_same_content(from: &File, to: &File) -> bool {
    let is_text = matches!(from.body, Body::Text(_));
    (from.is_program, &from.body) == (to.is_program, &to.body) && (is_text || from.id == to.id)
}

/// Owners and modes of directories, as far as these layers say.
fn directories(layers: &[Layer]) -> BTreeMap<&str, (&Layer, &Attributes)> {
    let mut all: BTreeMap<&str, (&Layer, &Attributes)> = BTreeMap::new();
    for layer in layers {
        let is_file = |path: &str| layer.files.contains_key(path);
        all.retain(|path, _| !layer.removes(path) && !is_file(path) && !above(path).any(is_file));
        let own = layer.attributes.iter();
        let own = own.filter(|(path, _)| !layer.files.contains_key(*path));
        all.extend(own.map(|(path, attributes)| (path.as_str(), (layer, attributes))));
    }
    all
}

/// What differs in `/etc`, a step each.
pub(super) fn steps(
    subject: &Subject,
    from: &[Layer],
    to: &[Layer],
    rule: impl Fn(&str, Fate) -> Rule,
) -> Vec<Step> {
    let modes = [directories(from), directories(to)];
    let (from, to) = (view(from), view(to));
    let paths: BTreeSet<&str> = from.keys().chain(to.keys()).copied().collect();
    let mut steps = Vec::new();
    for path in paths {
        let (what, source, fate) = match (from.get(path), to.get(path)) {
            (Some(from), Some(to)) if is_same(from, to) => continue,
            (None | Some(Seen::Removed(_)), Some(Seen::Given { file, .. })) => {
                ("added", file.source.clone(), given(file, Fate::Given))
            }
            (
                Some(Seen::Given {
                    file: before,
                    said_by,
                    ..
                }),
                Some(Seen::Given {
                    attributes,
                    file,
                    said_by: by,
                }),
            ) if has_same_content(before, file) => {
                let by = match *attributes == Attributes::default() {
                    true => said_by,
                    false => by,
                };
                (OWNED, by.clone(), Fate::Changed)
            }
            (Some(Seen::Given { file: before, .. }), Some(Seen::Given { file, .. })) => {
                let what = match (&before.body, &file.body) {
                    (Body::Secret, Body::Secret) if before.id != file.id => "encrypted anew",
                    _ => "changed",
                };
                (what, file.source.clone(), given(file, Fate::Changed))
            }
            (_, Some(Seen::Removed(by))) => ("removed", by.clone(), Fate::Removed),
            (Some(Seen::Given { file, .. }), None) => {
                ("no more given", file.source.clone(), Fate::NoMore)
            }
            (Some(Seen::Removed(by)), None) => ("no more removed", by.clone(), Fate::Changed),
            (None, None) => continue,
        };
        let step = step(subject, path, what, Some(source), rule(path, fate));
        steps.push(step.about(path));
    }
    let paths: BTreeSet<&str> = modes.iter().flatten().map(|(path, _)| *path).collect();
    for path in paths {
        let [from, to] = modes.each_ref().map(|modes| modes.get(path));
        let attributes = |of: Option<&(&Layer, &Attributes)>| of.map(|(_, it)| (*it).clone());
        if attributes(from) != attributes(to) {
            let source = to.or(from).map(|(layer, _)| document(layer));
            let rule = rule(path, Fate::Changed);
            steps.push(step(subject, path, OWNED, source, rule));
        }
    }
    steps
}

fn step(subject: &Subject, path: &str, what: &str, source: Option<String>, rule: Rule) -> Step {
    Step::new(subject.clone(), format!("/etc/{path} {what}"), source, rule)
}

/// What is given is a link to nothing, or `otherwise`.
fn given(file: &File, otherwise: Fate) -> Fate {
    match file.body == Body::Link && file.id == NOTHING {
        true => Fate::Masked,
        false => otherwise,
    }
}

/// What git calls the content `/dev/null`, of a link that masks a unit.
const NOTHING: BlobId = BlobId([
    0xdc, 0x1d, 0xc0, 0xcd, 0xe0, 0xf7, 0xdf, 0xf7, 0xb7, 0xf7, 0xc9, 0x34, 0x7f, 0xff, 0x75, 0x93,
    0x6d, 0x70, 0x5c, 0xb8,
]);

const OWNED: &str = "has another owner or mode";

fn document(layer: &Layer) -> String {
    format!("{}/etc.toml", layer.directory)
}
