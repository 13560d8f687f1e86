// SPDX-License-Identifier: GPL-3.0-or-later
//! A directory that can be written over others that never are: an overlay whose upper directory is
//! in RAM (Linux, Documentation/filesystems/overlayfs.rst).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::mount::Mount;

/// The attribute that makes an overlay show nothing of lower directories.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";
/// The number of the character device that hides what lower directories have.
pub(crate) const WHITEOUT: u64 = 0;

/// An overlay that is ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
}

impl Overlay {
    /// Over the directories `lower`, the uppermost first. What is changed goes to `upper` in the
    /// directory `ram`, which is made and looks like `model`: it is what shows.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn new(lower: Vec<PathBuf>, model: &Path, ram: &Path) -> Result<Self> {
        let overlay = Self {
            lower,
            upper: ram.join("upper"),
            work: ram.join("work"),
        };
        for made in [&overlay.upper, &overlay.work] {
            fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
        }
        imitate(&overlay.upper, model)?;
        Ok(overlay)
    }

    /// Where what is changed lies.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// What to mount.
    pub fn mount(&self) -> Mount<'static> {
        Mount::overlay(&self.lower, &self.upper, &self.work)
    }
}

/// Whether an overlay that was made in `ram` is still mounted for anybody, or was unmounted while
/// somebody had a file of it open. Only for those whose directories nobody will use again.
///
/// # Errors
/// The kernel does not say.
pub fn is_in_use(ram: &Path) -> Result<bool> {
    let (upper, work) = (ram.join("upper"), ram.join("work"));
    if !upper.is_dir() || !work.is_dir() {
        return Ok(false);
    }
    // With an index the kernel refuses what another overlay has; without one it only complains.
    let lower = ram.join("nothing");
    fs::create_dir_all(&lower).with_context(|| format!("making {}", lower.display()))?;
    let mut mount = Mount::overlay(&[lower], &upper, &work);
    mount.options.push(("index", "on".to_owned()));
    mount.is_busy()
}

/// Gives `dir` owner and mode of `model`.
pub(crate) fn imitate(dir: &Path, model: &Path) -> Result<()> {
    let doing = || format!("giving {} the mode of {}", dir.display(), model.display());
    let from = fs::metadata(model).with_context(doing)?;
    let mode = fs::Permissions::from_mode(from.permissions().mode() & 0o7777);
    fs::set_permissions(dir, mode).with_context(doing)?;
    chown(dir, Some(from.uid()), Some(from.gid())).with_context(doing)
}
