// SPDX-License-Identifier: GPL-3.0-or-later
//! `/etc` of a host that runs: what was changed in it, and another one in its place.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use domus_model::etc;
use domus_system::layers::{self, Source, laid};
use domus_system::mount::{Bare, Replaced, bind_in_place, table};
use domus_system::overlay::{self, Overlay};
use domus_system::upper::{Lower, Upper};

use crate::config_disk;
use crate::context::Context;
use crate::paths::Paths;
use crate::warn;

/// The `/etc` that is mounted.
#[derive(Debug)]
pub(crate) struct Etc {
    /// The directory in RAM that its upper directory is in, and its layers but for the booted one's.
    ram: PathBuf,
    layers: PathBuf,
    /// Whether it is an overlay at all; else it is what was there before.
    is_mounted: bool,
}

impl Etc {
    /// Looks at what is mounted, whatever any record says: whoever was to write one may have been
    /// killed.
    ///
    /// # Errors
    /// The kernel's table of mounts cannot be read.
    pub(crate) fn find(paths: &Paths) -> Result<Self> {
        let mounts = table::at(&paths.etc())?;
        let seen = mounts.last().filter(|mount| mount.kind == "overlay");
        let upper = seen.and_then(table::Entry::upper);
        let booted = paths.booted_upper();
        let is_mounted = upper.is_some();
        let upper = upper.unwrap_or_else(|| booted.clone());
        let ram = upper.parent().unwrap_or(&upper).to_owned();
        let layers = match upper == booted {
            true => paths.booted_layers(),
            false => ram.join("layers"),
        };
        Ok(Self {
            ram,
            layers,
            is_mounted,
        })
    }

    /// Where everything lies that was changed in it.
    pub(crate) fn upper(&self) -> PathBuf {
        self.ram.join("upper")
    }

    /// Files that were changed in it since the boot.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn changed(&self, paths: &Paths) -> Result<BTreeSet<String>> {
        if !self.upper().is_dir() {
            return Ok(BTreeSet::new());
        }
        let root = Bare::of(&paths.at("/"))?;
        self.over(&root).changed()
    }

    fn over(&self, root: &Bare) -> Upper {
        let mut lower = laid(&self.layers);
        lower.push(root.path().join("etc"));
        Upper {
            directory: self.upper(),
            lower: Lower(lower),
        }
    }
}

/// Puts the `/etc` of `next` in place of the one that is mounted, with what was changed in that but
/// for the files in `overruled`. Says what could not be done.
///
/// # Errors
/// It cannot be composed or mounted; what is mounted stays.
pub(crate) fn replace(next: &Context, overruled: &BTreeSet<String>) -> Result<Vec<String>> {
    let paths = &next.paths;
    let target = paths.etc();
    let now = Etc::find(paths)?;
    if !now.is_mounted {
        bail!(
            "{} was not composed by domus-boot: it is no overlay",
            target.display()
        );
    }
    let ram = new_directory(&paths.etcs())?;
    let root = Bare::of(&paths.at("/"))?;
    let image = root.path().join("etc");
    let has_hosts = next.slice.join("global/hosts").is_file();
    let source = Source {
        image: &image,
        tree: &next.slice,
        generated: &etc::for_host(&next.wanted, &next.host, has_hosts),
        layers: &next.host.layers,
        secret: &|layer, path| config_disk::open(next, &layer.files[path].source),
    };
    let composed = layers::lay(&source, &ram.join("layers"))?;
    let mut lower: Vec<PathBuf> = composed.directories.into_iter().rev().collect();
    let seen = Lower([&lower[..], std::slice::from_ref(&image)].concat());
    let shown = paths.image_root();
    lower.push(shown.join("etc"));
    let overlay = Overlay::new(lower, &image, &ram)?;
    let old = now.over(&root);
    let before = old.state()?;
    old.carry(overlay.upper(), &seen, overruled)?;
    // An overlay takes only what is mounted somewhere, and needs that no more once it is made.
    let prepared = {
        let _shown = root.show(&shown)?;
        overlay.mount().prepare()?
    };
    if prepared.replace(&target)? == Replaced::Beneath {
        let error = anyhow!("this kernel cannot take the old /etc away: it stays beneath");
        warn(&error.context("RAM that it has is free after the next boot"));
    }
    now.over(&Bare::of(&paths.at("/"))?)
        .follow(&before, &target)?;
    Ok(composed.problems)
}

/// Puts the trees of `next` at `/config/local` and `/config/global`.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn bind_config(next: &Context) -> Result<()> {
    let local = format!("pservers/{}", next.host.name);
    for (from, name) in [(local.as_str(), "local"), ("global", "global")] {
        let from = next.slice.join(from);
        fs::create_dir_all(&from).with_context(|| format!("making {}", from.display()))?;
        let target = next.paths.config(name);
        fs::create_dir_all(&target).with_context(|| format!("making {}", target.display()))?;
        bind_in_place(&from, &target)?;
    }
    Ok(())
}

/// Removes what former `/etc`s were composed of that nobody uses any more. Whoever has a file or
/// directory of one open keeps it until then.
///
/// # Errors
/// The kernel does not say who uses one, or it cannot be removed.
pub(crate) fn clear(paths: &Paths) -> Result<()> {
    let now = Etc::find(paths)?;
    if !now.is_mounted {
        return Ok(());
    }
    let booted = paths.booted_upper();
    let booted = booted.parent().unwrap_or(&booted).to_owned();
    let mut all: Vec<Vec<PathBuf>> = vec![vec![booted, paths.booted_layers()]];
    if let Ok(entries) = fs::read_dir(paths.etcs()) {
        all.extend(entries.flatten().map(|entry| vec![entry.path()]));
    }
    for old in all {
        if old[0] == now.ram || !old[0].is_dir() || overlay::is_in_use(&old[0])? {
            continue;
        }
        for directory in old {
            let removed = fs::remove_dir_all(&directory);
            removed.with_context(|| format!("removing {}", directory.display()))?;
        }
    }
    Ok(())
}

/// A new directory in `parent`, which only root looks into, called by the next number.
fn new_directory(parent: &Path) -> Result<PathBuf> {
    let doing = || format!("making a directory in {}", parent.display());
    fs::create_dir_all(parent).with_context(doing)?;
    let entries = fs::read_dir(parent).with_context(doing)?.flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let directory = parent.join((numbers.max().unwrap_or(0) + 1).to_string());
    fs::create_dir(&directory).with_context(doing)?;
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).with_context(doing)?;
    Ok(directory)
}
