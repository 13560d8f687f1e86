// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: every image that a domU starts from, or is given, is made by a recipe, in that revision, and locked if
//! any is.

use super::instead;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, HostDocs, RecipeDoc, Shared};
use crate::names::ImageRef;

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    for guest in docs.guests() {
        let settings = &guest.domu.settings;
        let disks = settings.disks.iter();
        let images = disks.filter_map(|disk| disk.image.as_ref());
        for image in settings.image.iter().chain(images) {
            notes.extend(problem(shared, image));
        }
    }
}

/// What is wrong with an image that a domU has, if anything.
fn problem(shared: &Shared<'_>, image: &At<ImageRef>) -> Option<Diagnostic> {
    let name = image.value.name.as_str();
    let error = |message| image.place.error(message);
    let Some(recipe) = shared.images.get(name) else {
        let write = format!("write its recipe, images/{name}.toml");
        let others = instead(name, shared.images.keys().map(String::as_str));
        let help = others.map_or(write.clone(), |others| format!("{others}; or {write}"));
        return Some(error(format!("there is no recipe for {name}")).help(help));
    };
    let revision = |body: &RecipeDoc| body.revision.clone();
    let revision = recipe.body.as_ref().and_then(revision)?;
    if revision.value != image.value.revision {
        let made = format!("{name}@{}", revision.value);
        let note = error(format!("{} is not what its recipe makes", image.value))
            .remark(format!("the recipe makes {made}"))
            .see(&revision.place, "")
            .help(format!("write image = \"{made}\""));
        return Some(note);
    }
    let locked = shared.lock.iter().flat_map(|lock| &lock.images);
    let mut locked = locked.map(|(image, _)| &image.value).peekable();
    if locked.peek().is_some() && !locked.any(|locked| *locked == image.value) {
        let note = image
            .place
            .warning(format!("{} is not locked", image.value));
        let help = format!("run `domus image build {name}`, and commit domus.lock");
        return Some(note.help(help));
    }
    None
}
