//! Proof: every image that a domU starts from is made by a recipe, in that revision.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::{guests, listed};
use crate::diagnostic::Diagnostic;
use crate::documents::{Documents, RecipeDoc};

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    for guest in guests(documents) {
        let Some(image) = &guest.domu.image else {
            continue;
        };
        let name = image.value.name.as_str();
        let error = |message| Diagnostic::error(message, guest.path, image.span.clone());
        let Some(recipe) = documents.images.get(name) else {
            let help = match listed(documents.images.keys()).as_str() {
                "" => format!("write its recipe, images/{name}.toml"),
                others => format!("write its recipe, images/{name}.toml, or take one of: {others}"),
            };
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
                .see(&recipe.path, revision.span, "")
                .help(format!("write image = \"{made}\""));
            notes.push(note);
        }
    }
}
