// SPDX-License-Identifier: GPL-3.0-or-later
//! `/etc` of a machine that runs, dom0 or domU: what was changed in it, and another one in its place.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::layers::{Laid, laid};
use crate::mount::{Bare, Replaced, bind_in_place, table};
use crate::overlay::{self, Overlay};
use crate::upper::{Lower, Upper};

/// Where a machine has `/etc`, and what it is made of.
#[derive(Debug, Clone)]
pub struct Places {
    /// Its root.
    pub root: PathBuf,
    /// `/etc`.
    pub etc: PathBuf,
    /// What it is composed of while the machine runs, a directory for each time, called by its number.
    pub etcs: PathBuf,
    /// Where the root image is seen without what is mounted on it, while `/etc` is composed.
    pub image_root: PathBuf,
    /// What was changed in the one that was booted.
    pub booted_upper: PathBuf,
    /// The layers of the one that was booted.
    pub booted_layers: PathBuf,
}

/// The `/etc` that is mounted.
#[derive(Debug)]
pub struct Etc {
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
    pub fn find(places: &Places) -> Result<Self> {
        let mounts = table::at(&places.etc)?;
        let seen = mounts.last().filter(|mount| mount.kind == "overlay");
        let upper = seen.and_then(table::Entry::upper);
        let booted = &places.booted_upper;
        let is_mounted = upper.is_some();
        let upper = upper.unwrap_or_else(|| booted.clone());
        let ram = upper.parent().unwrap_or(&upper).to_owned();
        let layers = match upper == *booted {
            true => places.booted_layers.clone(),
            false => ram.join("layers"),
        };
        Ok(Self {
            ram,
            layers,
            is_mounted,
        })
    }

    /// Where everything lies that was changed in it.
    pub fn upper(&self) -> PathBuf {
        self.ram.join("upper")
    }

    /// Files that were changed in it since the boot.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn changed(&self, places: &Places) -> Result<BTreeSet<String>> {
        if !self.upper().is_dir() {
            return Ok(BTreeSet::new());
        }
        let root = Bare::of(&places.root)?;
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

/// What came of another `/etc`.
#[derive(Debug)]
pub struct Switched {
    /// What of it could not be done, in sentences.
    pub problems: Vec<String>,
    /// What became of the one before.
    pub before: Replaced,
}

/// Puts another `/etc` in place of the one that is mounted, with what was changed in that but for the
/// files in `overruled`. `lay` lays out its layers over the `/etc` of the image that it is given, in the
/// directory that it is given.
///
/// # Errors
/// It cannot be composed or mounted; what is mounted stays.
pub fn replace(
    places: &Places,
    lay: impl FnOnce(&Path, &Path) -> Result<Laid>,
    overruled: &BTreeSet<String>,
) -> Result<Switched> {
    let target = &places.etc;
    let now = Etc::find(places)?;
    if !now.is_mounted {
        bail!(
            "{} was not composed by domus-boot: it is no overlay",
            target.display()
        );
    }
    let ram = new_directory(&places.etcs)?;
    let root = Bare::of(&places.root)?;
    let image = root.path().join("etc");
    let composed = lay(&image, &ram.join("layers"))?;
    let mut lower: Vec<PathBuf> = composed.directories.into_iter().rev().collect();
    let seen = Lower([&lower[..], std::slice::from_ref(&image)].concat());
    lower.push(places.image_root.join("etc"));
    let overlay = Overlay::new(lower, &image, &ram)?;
    let old = now.over(&root);
    let state = old.state()?;
    old.carry(overlay.upper(), &seen, overruled)?;
    // An overlay takes only what is mounted somewhere, and needs that no more once it is made.
    let prepared = {
        let _shown = root.show(&places.image_root)?;
        overlay.mount().prepare()?
    };
    let before = prepared.replace(target)?;
    now.over(&Bare::of(&places.root)?).follow(&state, target)?;
    Ok(Switched {
        problems: composed.problems,
        before,
    })
}

/// Makes the trees `own` and `global` of `slice` visible as `local` and `global` in the directory `config`, in
/// place of what is there.
///
/// # Errors
/// The kernel refuses.
pub fn bind_config(slice: &Path, own: &str, config: &Path) -> Result<()> {
    for (from, name) in [(own, "local"), ("global", "global")] {
        let (from, target) = (slice.join(from), config.join(name));
        for directory in [&from, &target] {
            let doing = || format!("making {}", directory.display());
            fs::create_dir_all(directory).with_context(doing)?;
        }
        bind_in_place(&from, &target)?;
    }
    Ok(())
}

/// Removes what former `/etc`s were composed of that nobody uses any more. Whoever has a file or
/// directory of one open keeps it until then.
///
/// # Errors
/// The kernel does not say who uses one, or it cannot be removed.
pub fn clear(places: &Places) -> Result<()> {
    let now = Etc::find(places)?;
    if !now.is_mounted {
        return Ok(());
    }
    let booted = &places.booted_upper;
    let booted = booted.parent().unwrap_or(booted).to_owned();
    let mut all: Vec<Vec<PathBuf>> = vec![vec![booted, places.booted_layers.clone()]];
    if let Ok(entries) = fs::read_dir(&places.etcs) {
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
