// SPDX-License-Identifier: GPL-3.0-or-later
//! Composing a machine under its new root: `/etc` from its layers, `/var` writable in RAM,
//! `/config` with the trees of the commit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::boot::{self, BootRecord, LAYERS};
use domus_model::layers::Layer;
use domus_model::rendered::RenderedFile;
use domus_system::layers;
use domus_system::mount::{self, Mount};
use domus_system::overlay::Overlay;

use crate::{console, record};

/// Where the writable halves of overlays live, in RAM.
const RAM: &str = "/run/domus/rw";

/// What a machine is composed from.
pub(crate) struct Source<'a> {
    /// The commit's files in RAM, laid out as in the repository.
    pub(crate) tree: &'a Path,
    /// The directory in it that is this machine's own.
    pub(crate) local: &'a str,
    /// Files that follow from the documents.
    pub(crate) generated: &'a [RenderedFile],
    /// The layers above them, the lowest first.
    pub(crate) layers: &'a [Layer],
    /// Decrypts the file that a layer gives at a path.
    pub(crate) secret: &'a dyn Fn(&Layer, &str) -> Result<Vec<u8>>,
}

/// Composes the machine whose root image is mounted at `root`, and keeps what was done in its
/// record.
pub(crate) fn machine(root: &Path, source: &Source<'_>, record: &mut BootRecord) -> Result<()> {
    config(root, source)?;
    Mount::ram("755").at(Path::new(RAM))?;
    let etc = root.join("etc");
    let layers = layers::Source {
        image: &etc,
        tree: source.tree,
        generated: source.generated,
        layers: source.layers,
        secret: source.secret,
    };
    let laid = layers::lay(&layers, Path::new(LAYERS))?;
    let lower: Vec<PathBuf> = laid
        .directories
        .into_iter()
        .rev()
        .chain([etc.clone()])
        .collect();
    overlay("etc", lower, &etc)?;
    overlay("var", vec![root.join("var")], &root.join("var"))?;
    record.layers = boot::composed(source.generated, source.layers);
    console::say(format!("/etc {}", boot::layers_line(&record.layers)));
    for problem in &laid.problems {
        console::say(problem);
    }
    record.problems.extend(laid.problems);
    record::note(record, "etc-composed");
    Ok(())
}

/// Puts the commit's trees at `/config/local` and `/config/global`.
fn config(root: &Path, source: &Source<'_>) -> Result<()> {
    for (from, name) in [(source.local, "local"), ("global", "global")] {
        let from = source.tree.join(from);
        fs::create_dir_all(&from).with_context(|| format!("making {}", from.display()))?;
        mount::bind(&from, &root.join("config").join(name))?;
    }
    Ok(())
}

/// An overlay of `lower` over itself at `target`, its upper layer in RAM.
fn overlay(name: &str, lower: Vec<PathBuf>, target: &Path) -> Result<()> {
    let overlay = Overlay::new(lower, target, &Path::new(RAM).join(name))?;
    overlay.mount().at(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domus_model::boot::ETC_UPPER;

    #[test]
    fn what_is_changed_in_etc_lies_where_the_agent_looks() {
        assert_eq!(Path::new(RAM).join("etc/upper"), Path::new(ETC_UPPER));
    }
}
