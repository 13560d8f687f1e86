// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: every image that a domU starts from is made by a recipe, in that revision, and locked if
//! any is.

use super::instead;
use crate::diagnostic::Diagnostic;
use crate::documents::{HostDocs, RecipeDoc, Shared};

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    for guest in docs.guests() {
        let Some(image) = &guest.domu.settings.image else {
            continue;
        };
        let name = image.value.name.as_str();
        let error = |message| image.place.error(message);
        let Some(recipe) = shared.images.get(name) else {
            let write = format!("write its recipe, images/{name}.toml");
            let others = instead(name, shared.images.keys().map(String::as_str));
            let help = others.map_or(write.clone(), |others| format!("{others}; or {write}"));
            notes.push(error(format!("there is no recipe for {name}")).help(help));
            continue;
        };
        let revision = |body: &RecipeDoc| body.revision.clone();
        let Some(revision) = recipe.body.as_ref().and_then(revision) else {
            continue;
        };
        if revision.value != image.value.revision {
            let made = format!("{name}@{}", revision.value);
            let note = error(format!("{} is not what its recipe makes", image.value))
                .remark(format!("the recipe makes {made}"))
                .see(&revision.place, "")
                .help(format!("write image = \"{made}\""));
            notes.push(note);
            continue;
        }
        let locked = shared.lock.iter().flat_map(|lock| &lock.images);
        let mut locked = locked.map(|(image, _)| &image.value).peekable();
        if locked.peek().is_some() && !locked.any(|locked| *locked == image.value) {
            let note = image
                .place
                .warning(format!("{} is not locked", image.value));
            let help = format!("run `domus image build {name}`, and commit domus.lock");
            notes.push(note.help(help));
        }
    }
}
