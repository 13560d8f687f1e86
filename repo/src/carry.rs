// SPDX-License-Identifier: GPL-3.0-or-later
//! Carrying a commit and its history into a new bare repository, as a config partition holds it.

use std::path::Path;

use anyhow::{Context, Result};
use git2::Repository;

use crate::open::prepare;
use crate::{RUNNING_REF, Repo, packs};

/// Makes the bare repository `to` with a statement of `from`, a commit or a target, and all that
/// it descends from, and points [`RUNNING_REF`] at it.
///
/// # Errors
/// `to` exists already, the statement is not in `from`, or the disk is full.
pub fn carry(from: &Repo, statement: &str, to: &Path) -> Result<()> {
    let doing = || format!("carrying {statement} to {}", to.display());
    prepare()?;
    let target = Repository::init_bare(to).with_context(doing)?;
    let id = git2::Oid::from_str(statement).with_context(doing)?;
    let mut builder = from.git.packbuilder().with_context(doing)?;
    let mut walk = from.git.revwalk().with_context(doing)?;
    walk.push(id).with_context(doing)?;
    builder.insert_walk(&mut walk).with_context(doing)?;
    let odb = target.odb().with_context(doing)?;
    let mut writer = odb.packwriter().with_context(doing)?;
    let mut failure = None;
    builder
        .foreach(
            |bytes| match std::io::Write::write_all(&mut writer, bytes) {
                Ok(()) => true,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            },
        )
        .or_else(|error| {
            failure
                .take()
                .map_or(Err(error.into()), |e| Err(anyhow::Error::from(e)))
        })
        .with_context(doing)?;
    writer.commit().with_context(doing)?;
    // It leads to nothing but what it has itself, so a host never packs that anew.
    for index in packs::indexes(&to.join("objects")) {
        packs::keep(&index).with_context(doing)?;
    }
    target
        .reference(RUNNING_REF, id, true, "domus")
        .with_context(doing)?;
    target.set_head_detached(id).with_context(doing)
}
