// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: a domU that starts from an image of somebody else's says so, and asks nothing of it that only
//! Domus's own images do.

use super::Guest;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, DomUSettings, ForeignDoc, HostDocs, Shared};
use crate::fleet::{Fs, Kind};
use crate::names::ImageRef;

pub(super) fn prove(shared: &Shared<'_>, docs: &HostDocs, notes: &mut Vec<Diagnostic>) {
    for guest in docs.guests() {
        let settings = &guest.domu.settings;
        let foreign = settings.foreign.as_ref().filter(|foreign| foreign.value);
        if let Some(image) = &settings.image {
            notes.extend(other_image(shared, &guest, image, foreign));
        }
        for disk in &settings.disks {
            if let Some(image) = &disk.image
                && of_recipe(shared, image).flatten().is_some()
            {
                let note = image
                    .place
                    .error(format!("{} is no data disk", image.value));
                let note = note.remark("it is a foreign image, which boots by itself".to_owned());
                notes.push(note.help("make an image of Domus's own from what is needed of it"));
            }
        }
        let mut scratch = settings.disks.iter().filter_map(|disk| {
            let fs = disk.fs.as_ref()?;
            (fs.value == Fs::Scratch).then_some(fs)
        });
        match (foreign, scratch.next(), scratch.next()) {
            (None, Some(first), _) => {
                let note = first
                    .place
                    .error("only the root of a foreign image is written to".to_owned());
                notes.push(note.remark(format!("for {}", guest.name)).help(
                    "write foreign = true if it has one, or fs = \"none\" for a disk that the guest fills",
                ));
            }
            (Some(_), Some(first), Some(second)) => {
                let note = second.place.error("a root writes to one disk".to_owned());
                let note = note.see(&first.place, "it has this one");
                notes.push(note.help("take one of the two out"));
            }
            _ => {}
        }
        if let Some(foreign) = foreign {
            notes.extend(asks_too_much(settings, foreign));
        }
    }
}

/// `[foreign]` of the recipe that makes `image`, if there is such a recipe.
fn of_recipe<'s>(shared: &'s Shared<'_>, image: &At<ImageRef>) -> Option<Option<&'s ForeignDoc>> {
    let recipe = shared.images.get(image.value.name.as_str())?;
    Some(recipe.body.as_ref()?.foreign.as_ref())
}

/// That its image is another than it says, or that its kernel hears nothing.
fn other_image(
    shared: &Shared<'_>,
    guest: &Guest<'_>,
    image: &At<ImageRef>,
    foreign: Option<&At<bool>>,
) -> Option<Diagnostic> {
    let recipe = of_recipe(shared, image)?;
    let file = format!("images/{}.toml", image.value.name);
    match (recipe, foreign) {
        (None, None) => None,
        (Some(_), None) => {
            let note = image
                .place
                .error(format!("{} is a foreign image", image.value));
            let note = note.remark(format!(
                "{file} has [foreign], and {} does not know it",
                guest.name
            ));
            Some(note.help("write foreign = true"))
        }
        (None, Some(foreign)) => {
            let message = format!("{} is an image of Domus's own", image.value);
            let note = foreign.place.error(message).see(&image.place, "the image");
            Some(note.help(format!("take `foreign` out, or write [foreign] in {file}")))
        }
        (Some(recipe), Some(_)) => {
            let first = guest.domu.settings.kernel_args.first()?;
            if recipe.kernel.is_some() {
                return None;
            }
            let note = first
                .place
                .error("these reach no kernel: the image boots by its own GRUB".to_owned());
            Some(note.help(format!(
                "take `kernel-args` out, or name a `kernel` in {file}"
            )))
        }
    }
}

/// What nobody in a foreign image does.
fn asks_too_much(settings: &DomUSettings, foreign: &At<bool>) -> Vec<Diagnostic> {
    let mut notes = Vec::new();
    if let Some(health) = &settings.health {
        let note = health
            .place
            .error("nobody in a foreign image runs a health command".to_owned());
        let note = note.see(&foreign.place, "its image is foreign");
        notes.push(note.help("take `health` out"));
    }
    if let Some(kind) = settings
        .kind
        .as_ref()
        .filter(|kind| kind.value == Kind::Hvm)
    {
        let note = kind
            .place
            .error("a foreign image is not booted as hvm".to_owned());
        let note = note.see(&foreign.place, "its image is foreign");
        notes.push(
            note.help("write kind = \"pvh\", or \"pv\" where the processor has no VT-x or AMD-V"),
        );
    }
    notes
}
