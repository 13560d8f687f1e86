// SPDX-License-Identifier: GPL-3.0-or-later
//! What was changed in an overlay while it was mounted: what that is, and taking it over to
//! another overlay.

mod copy;
mod lower;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::overlay::{OPAQUE, WHITEOUT};

use copy::For;
pub use lower::Lower;

/// The upper directory of an overlay, and what it lies over.
#[derive(Debug, Clone)]
pub struct Upper {
    /// The upper directory.
    pub directory: PathBuf,
    /// The lower ones.
    pub lower: Lower,
}

/// What was changed, by path: which file that is, when it was changed, and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State(BTreeMap<String, (u64, (i64, i64), Kind)>);

/// Something in an upper directory that makes a difference.
#[derive(Debug)]
struct Difference {
    /// Relative to the directory.
    path: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file, link or anything else that is no directory.
    File,
    /// It hides what is below.
    Whiteout,
    /// A directory that hides the one below: all that is in it goes with it.
    Opaque,
    /// A directory with another owner or mode than the one below.
    Attributes,
}

impl Upper {
    /// Files that were changed, made or removed; directories that were removed or replaced. What is
    /// as below, because somebody opened it only, is not among them.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn changed(&self) -> Result<BTreeSet<String>> {
        let found = self.differences()?.into_iter();
        let files = found.filter(|difference| difference.kind != Kind::Attributes);
        Ok(files.map(|difference| difference.path).collect())
    }

    /// Copies all that makes a difference to the upper directory `to`, which lies over `lower`; but
    /// not what is in `leave`.
    ///
    /// # Errors
    /// Something cannot be read or written.
    pub fn carry(&self, to: &Path, lower: &Lower, leave: &BTreeSet<String>) -> Result<()> {
        for Difference { path, kind } in self.differences()? {
            if leave.contains(&path) {
                continue;
            }
            let doing = || format!("keeping /etc/{path} as it was changed");
            self.parents(&path, to, lower).with_context(doing)?;
            let (from, target) = (self.directory.join(&path), to.join(&path));
            match kind {
                Kind::Opaque => copy::tree(&from, &target, For::Upper),
                Kind::Attributes => copy::directory(&from, &target),
                Kind::File | Kind::Whiteout => copy::file(&from, &target),
            }
            .with_context(doing)?;
        }
        Ok(())
    }

    /// What was changed up to now, and when.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn state(&self) -> Result<State> {
        let mut state = State::default();
        for Difference { path, kind } in self.differences()? {
            let at = self.directory.join(&path);
            let meta = at.symlink_metadata();
            let meta = meta.with_context(|| format!("looking at {}", at.display()))?;
            if kind != Kind::Attributes {
                let when = (meta.ctime(), meta.ctime_nsec());
                state.0.insert(path, (meta.ino(), when, kind));
            }
        }
        Ok(state)
    }

    /// Does to the directory `to`, which can be written, what was changed since `before`: for what
    /// somebody wrote while the rest was carried.
    ///
    /// # Errors
    /// Something cannot be read or written.
    pub fn follow(&self, before: &State, to: &Path) -> Result<()> {
        for (path, now) in self.state()?.0 {
            if before.0.get(&path) == Some(&now) {
                continue;
            }
            let doing = || format!("keeping /etc/{path}, which was changed just now");
            let (from, target) = (self.directory.join(&path), to.join(&path));
            let removed = match target.symlink_metadata() {
                Ok(meta) if meta.is_dir() => fs::remove_dir_all(&target),
                Ok(_) => fs::remove_file(&target),
                Err(_) => Ok(()),
            };
            removed.with_context(doing)?;
            self.parents(&path, to, &Lower::default())
                .with_context(doing)?;
            match now.2 {
                Kind::File => copy::file(&from, &target).with_context(doing)?,
                Kind::Opaque => copy::tree(&from, &target, For::Sight).with_context(doing)?,
                Kind::Whiteout | Kind::Attributes => {}
            }
        }
        Ok(())
    }

    /// Makes the directories above `path`, as they are seen now where somebody changed them, and
    /// else as `lower` has them.
    fn parents(&self, path: &str, to: &Path, lower: &Lower) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            let (directory, target) = (&path[..end], to.join(&path[..end]));
            if target.symlink_metadata().is_ok() {
                continue;
            }
            let below = lower.find(directory).filter(|(_, meta)| meta.is_dir());
            let model = below.map_or_else(|| self.directory.join(directory), |(path, _)| path);
            copy::directory(&model, &target)?;
        }
        Ok(())
    }

    /// All differences, what is above before what is in it.
    fn differences(&self) -> Result<Vec<Difference>> {
        let mut found = Vec::new();
        self.look(&self.directory, "", &mut found)?;
        Ok(found)
    }

    fn look(&self, directory: &Path, prefix: &str, found: &mut Vec<Difference>) -> Result<()> {
        let doing = || format!("reading {}", directory.display());
        let entries = fs::read_dir(directory).with_context(doing)?;
        let mut names = entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<std::io::Result<Vec<_>>>()
            .with_context(doing)?;
        names.sort();
        for name in names {
            let at = directory.join(&name);
            let path = format!("{prefix}{}", name.to_string_lossy());
            let meta = at.symlink_metadata().with_context(doing)?;
            let below = self.lower.find(&path);
            let kind = match &below {
                _ if meta.is_dir() => {
                    let below = below.as_ref().filter(|(_, below)| below.is_dir());
                    match below {
                        Some(_) if is_opaque(&at) => Some(Kind::Opaque),
                        Some((_, below)) if !has_same_owner(&meta, below) => Some(Kind::Attributes),
                        _ => None,
                    }
                }
                None if is_whiteout(&meta) => None,
                Some(_) if is_whiteout(&meta) => Some(Kind::Whiteout),
                Some((other, below)) if is_same(&at, &meta, other, below)? => None,
                _ => Some(Kind::File),
            };
            let goes_on = meta.is_dir() && kind != Some(Kind::Opaque);
            if let Some(kind) = kind {
                let path = path.clone();
                found.push(Difference { path, kind });
            }
            if goes_on {
                self.look(&at, &format!("{path}/"), found)?;
            }
        }
        Ok(())
    }
}

/// Makes an upper directory that is not mounted remove nothing any more: what lower directories have
/// shows again, but for what lies over it.
///
/// # Errors
/// Something cannot be read or removed.
pub fn restore_removed(upper: &Path) -> Result<()> {
    let doing = || format!("looking for what was removed in {}", upper.display());
    if is_opaque(upper) {
        rustix::fs::lremovexattr(upper, OPAQUE).with_context(doing)?;
    }
    for entry in fs::read_dir(upper).with_context(doing)? {
        let path = entry.with_context(doing)?.path();
        let meta = path.symlink_metadata().with_context(doing)?;
        if meta.is_dir() {
            restore_removed(&path)?;
        } else if is_whiteout(&meta) {
            fs::remove_file(&path).with_context(doing)?;
        }
    }
    Ok(())
}

fn has_same_owner(one: &Metadata, other: &Metadata) -> bool {
    (one.uid(), one.gid(), one.mode()) == (other.uid(), other.gid(), other.mode())
}

/// Whether two that are no directories are the same for whoever reads them.
fn is_same(one: &Path, of_one: &Metadata, other: &Path, of_other: &Metadata) -> Result<bool> {
    if !has_same_owner(of_one, of_other) || of_one.len() != of_other.len() {
        return Ok(false);
    }
    let doing = || format!("comparing {} with {}", one.display(), other.display());
    let same = if of_one.is_symlink() {
        fs::read_link(one).with_context(doing)? == fs::read_link(other).with_context(doing)?
    } else if of_one.is_file() {
        fs::read(one).with_context(doing)? == fs::read(other).with_context(doing)?
    } else {
        false
    };
    Ok(same)
}

pub(crate) fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == WHITEOUT
}

pub(crate) fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::lgetxattr(directory, OPAQUE, &mut value), Ok(1)) && value == *b"y"
}

#[cfg(test)]
mod tests;
