// SPDX-License-Identifier: GPL-3.0-or-later
//! A fleet that a command works on: found from the current directory, proved, with the places of
//! what is built from it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use domus_iso::config::Images;
use domus_model::diagnostic::Diagnostic;
use domus_model::distance::meant;
use domus_model::files::Files;
use domus_model::fleet::{Fleet, Host};
use domus_model::names::{ImageRef, Name};
use domus_system::documents;

use crate::render;

/// An opened fleet.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The repository.
    pub(crate) root: PathBuf,
    /// What its documents say.
    pub(crate) fleet: Fleet,
}

impl Opened {
    /// Finds and proves the fleet that `dir` belongs to. Nothing is built from one that does not
    /// prove: all its problems are shown.
    pub(crate) fn at(dir: &Path) -> Result<Self> {
        let root = find(dir)?;
        let fleet = prove(&documents::read(&root)?)?;
        Ok(Self { root, fleet })
    }

    /// Where what is built goes: `build/`, which git ignores.
    pub(crate) fn output(&self) -> Output {
        Output(self.root.join("build"))
    }

    /// The ISO of a release of the fleet.
    pub(crate) fn iso(&self, version: &str) -> PathBuf {
        let fleet = &self.fleet.name;
        self.output().0.join(format!("domus-{fleet}-{version}.iso"))
    }
}

/// The directory of what is built.
#[derive(Debug)]
pub(crate) struct Output(pub(crate) PathBuf);

impl Images for Output {
    fn dir(&self, image: &ImageRef) -> PathBuf {
        self.0.join("images").join(image.to_string())
    }
}

/// The directory of the fleet that `dir` belongs to: it or one above.
///
/// # Errors
/// There is none, or a directory cannot be read.
pub(crate) fn find(dir: &Path) -> Result<PathBuf> {
    let Some(root) = documents::find_root(dir)? else {
        let dir = dir.canonicalize()?;
        bail!(
            "no fleet here: no domus.toml in {} or above; `domus init DIR` makes one",
            dir.display()
        );
    };
    Ok(root)
}

/// Whether one of these is an error.
pub(crate) fn has_errors(problems: &[Diagnostic]) -> bool {
    render::tally(problems).0 > 0
}

/// The fleet of these documents; if they do not prove, all problems are shown.
pub(crate) fn prove(files: &Files) -> Result<Fleet> {
    domus_model::load::load(files).map_err(|problems| {
        render::refuse(files, &problems);
        let (errors, _) = render::tally(&problems);
        anyhow::anyhow!("nothing was done: the fleet has {errors} error(s); see `domus check`")
    })
}

/// The host `name` of `fleet`.
pub(crate) fn host<'a>(fleet: &'a Fleet, name: &Name) -> Result<&'a Host> {
    let known = || fleet.hosts.keys().map(Name::as_str);
    fleet
        .hosts
        .get(name)
        .with_context(|| no_host(name, known()))
}

/// That there is no host of this name among `known`, and which may be meant.
pub(crate) fn no_host<'n>(name: &Name, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    let help = match meant(name.as_str(), &known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("it has {}", known.join(", ")),
    };
    format!("the fleet has no host {name}; {help}")
}
