// SPDX-License-Identifier: GPL-3.0-or-later
//! Composing a machine under its new root: `/etc` from its layers, `/var` writable in RAM,
//! `/config` with the trees of the commit.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::boot::Layer;
use domus_model::names::Name;
use domus_model::rendered::{Contents, RenderedFile};
use domus_system::mount::{self, Mount};

/// Where the writable halves of overlays live, in RAM.
const RAM: &str = "/run/domus/rw";
const GENERATED: &str = "/run/domus/generated";

/// What a machine is composed from.
pub(crate) struct Source<'a> {
    /// The host or domU.
    pub(crate) name: &'a Name,
    /// `global/` of the commit, in RAM.
    pub(crate) global: PathBuf,
    /// `pservers/HOST/` or `vservers/NAME/` of the commit, in RAM.
    pub(crate) local: PathBuf,
    /// Files that follow from the documents.
    pub(crate) generated: Vec<RenderedFile>,
}

/// Composes the machine whose root image is mounted at `root` and returns the layers of its
/// `/etc`, lowest first.
pub(crate) fn machine(root: &Path, source: &Source<'_>) -> Result<Vec<Layer>> {
    config(root, source)?;
    let generated = PathBuf::from(GENERATED);
    write(&generated, &source.generated)?;
    Mount::ram("755").at(Path::new(RAM))?;
    let (global, local) = (source.global.join("etc"), source.local.join("etc"));
    let candidates = [
        ("generated", generated),
        ("global", global),
        (source.name.as_str(), local),
    ];
    let mut layers = vec![Layer {
        name: "image".into(),
        files: None,
    }];
    let mut lower = vec![root.join("etc")];
    for (name, dir) in candidates.into_iter().filter(|(_, dir)| dir.is_dir()) {
        let files = adopt(&dir, &root.join("etc"))?;
        layers.push(Layer {
            name: name.into(),
            files: Some(files),
        });
        lower.insert(0, dir);
    }
    overlay("etc", &lower, &root.join("etc"))?;
    overlay("var", &[root.join("var")], &root.join("var"))?;
    Ok(layers)
}

/// Puts the commit's trees at `/config/local` and `/config/global`.
fn config(root: &Path, source: &Source<'_>) -> Result<()> {
    for (from, name) in [(&source.local, "local"), (&source.global, "global")] {
        fs::create_dir_all(from).with_context(|| format!("making {}", from.display()))?;
        mount::bind(from, &root.join("config").join(name))?;
    }
    Ok(())
}

/// An overlay of `lower` over itself at `target`, its upper layer in RAM.
fn overlay(name: &str, lower: &[PathBuf], target: &Path) -> Result<()> {
    let dir = Path::new(RAM).join(name);
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    for made in [&upper, &work] {
        fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
    }
    // The upper directory is what shows: it must look like the one it covers.
    imitate(&upper, target)?;
    Mount::overlay(lower, &upper, &work).at(target)
}

/// Writes generated files below `dir`, which is emptied first.
fn write(dir: &Path, files: &[RenderedFile]) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    for file in files {
        let path = dir.join(&file.path);
        let doing = || format!("writing the generated file /etc/{}", file.path);
        fs::create_dir_all(path.parent().unwrap_or(dir)).with_context(doing)?;
        match &file.contents {
            Contents::Text(text) => fs::write(&path, text).with_context(doing)?,
            Contents::Link(target) => symlink(target, &path).with_context(doing)?,
        }
    }
    Ok(())
}

/// Gives the directories of a layer owner and mode of those they cover (git keeps neither), and
/// counts the layer's files.
fn adopt(layer: &Path, below: &Path) -> Result<usize> {
    if below.is_dir() {
        imitate(layer, below)?;
    }
    let mut files = 0;
    for entry in fs::read_dir(layer).with_context(|| format!("listing {}", layer.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files += adopt(&entry.path(), &below.join(entry.file_name()))?;
        } else {
            files += 1;
        }
    }
    Ok(files)
}

fn imitate(dir: &Path, model: &Path) -> Result<()> {
    let doing = || format!("giving {} the mode of {}", dir.display(), model.display());
    let from = fs::metadata(model).with_context(doing)?;
    let mode = fs::Permissions::from_mode(from.permissions().mode() & 0o7777);
    fs::set_permissions(dir, mode).with_context(doing)?;
    let to = fs::metadata(dir).with_context(doing)?;
    if (to.uid(), to.gid()) != (from.uid(), from.gid()) {
        chown(dir, Some(from.uid()), Some(from.gid())).with_context(doing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_takes_the_modes_of_what_it_covers() {
        let dir = tempfile::tempdir().expect("dir");
        let (layer, below) = (dir.path().join("layer"), dir.path().join("below"));
        for base in [&layer, &below] {
            fs::create_dir_all(base.join("ssl/private")).expect("mkdir");
        }
        fs::create_dir_all(layer.join("new")).expect("mkdir");
        fs::write(layer.join("ssl/private/key"), "k").expect("write");
        fs::write(layer.join("new/file"), "f").expect("write");
        let private = below.join("ssl/private");
        fs::set_permissions(&private, fs::Permissions::from_mode(0o710)).expect("chmod");
        assert_eq!(adopt(&layer, &below).expect("adopt"), 2);
        let mode = fs::metadata(layer.join("ssl/private"))
            .expect("stat")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o710);
    }

    #[test]
    fn generated_files_replace_those_of_an_earlier_try() {
        let dir = tempfile::tempdir().expect("dir");
        let out = dir.path().join("generated");
        write(&out, &[RenderedFile::new("a/b", "one")]).expect("write");
        let hosts = RenderedFile::link("hosts", "/config/global/hosts");
        write(&out, &[RenderedFile::new("hostname", "alpha\n"), hosts]).expect("write");
        assert!(!out.join("a").exists());
        let link = fs::read_link(out.join("hosts")).expect("link");
        assert_eq!(link, Path::new("/config/global/hosts"));
    }
}
