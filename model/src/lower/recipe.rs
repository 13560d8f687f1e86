// SPDX-License-Identifier: GPL-3.0-or-later
//! Recipes of images.

use super::{value, values};
use crate::documents::{Doc, ForeignDoc, RecipeDoc, UserDoc};
use crate::fleet::{ForeignDisk, Recipe, User};

pub(super) fn recipe(doc: &Doc<RecipeDoc>) -> Option<Recipe> {
    let recipe = doc.body.as_ref()?;
    Some(Recipe {
        name: doc.name.clone()?,
        revision: value(&recipe.revision)?,
        suite: value(&recipe.suite),
        packages: values(&recipe.packages),
        files: value(&recipe.files),
        users: recipe.users.iter().map(user).collect::<Option<_>>()?,
        enable: values(&recipe.enable),
        commands: values(&recipe.commands),
        foreign: match &recipe.foreign {
            Some(foreign) => Some(disk(foreign)?),
            None => None,
        },
    })
}

fn disk(doc: &ForeignDoc) -> Option<ForeignDisk> {
    Some(ForeignDisk {
        disk: value(&doc.disk)?,
        kernel: value(&doc.kernel),
        initrd: value(&doc.initrd),
    })
}

fn user(doc: &UserDoc) -> Option<User> {
    Some(User {
        name: value(&doc.name)?,
        uid: value(&doc.uid)?,
        shell: value(&doc.shell),
        home: value(&doc.home),
    })
}
