// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that are added to a root: from a directory shipped with Domus, programs, links.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_system::digest::{self, Hasher};

/// Something added to a root, by its path there (relative to `/`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Path in the root, without a leading `/`.
    pub path: String,
    /// What it is.
    pub what: What,
}

/// What is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A directory of mode 0755.
    Directory,
    /// A file with this content and mode.
    Bytes(Vec<u8>, u32),
    /// A copy of this file, whose SHA-256 is given, with this mode.
    File(PathBuf, String, u32),
    /// A symbolic link to this target.
    Link(String),
}

impl Added {
    /// An empty directory.
    pub fn directory(path: &str) -> Self {
        Self {
            path: path.into(),
            what: What::Directory,
        }
    }

    /// A text file of mode 0644.
    pub fn text(path: &str, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            what: What::Bytes(text.into().into_bytes(), 0o644),
        }
    }

    /// A symbolic link.
    pub fn link(path: &str, target: &str) -> Self {
        Self {
            path: path.into(),
            what: What::Link(target.into()),
        }
    }

    /// A program of mode 0755.
    pub fn program(path: &str, program: &crate::programs::Shipped) -> Self {
        let what = What::File(program.path.clone(), program.digest.clone(), 0o755);
        Self {
            path: path.into(),
            what,
        }
    }
}

/// Every file of a directory embedded in the program, mode 0644.
pub fn embedded(dir: &include_dir::Dir<'_>) -> Vec<Added> {
    let mut added = Vec::new();
    for entry in dir.entries() {
        match entry {
            include_dir::DirEntry::Dir(dir) => added.extend(embedded(dir)),
            include_dir::DirEntry::File(file) => added.push(Added {
                path: file.path().to_string_lossy().into_owned(),
                what: What::Bytes(file.contents().to_vec(), 0o644),
            }),
        }
    }
    added.sort_by(|a, b| a.path.cmp(&b.path));
    added
}

/// Every file below `dir`, executable where it is so there, owned by root.
///
/// # Errors
/// A file cannot be read, or is neither file, directory nor symbolic link.
pub fn from_directory(dir: &Path) -> Result<Vec<Added>> {
    let mut added = Vec::new();
    collect(dir, dir, &mut added)?;
    added.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(added)
}

fn collect(root: &Path, dir: &Path, added: &mut Vec<Added>) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        let doing = || format!("reading {}", path.display());
        let meta = path.symlink_metadata().with_context(doing)?;
        let inside = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let what = if meta.is_dir() {
            collect(root, &path, added)?;
            What::Directory
        } else if meta.is_symlink() {
            What::Link(
                fs::read_link(&path)
                    .with_context(doing)?
                    .to_string_lossy()
                    .into_owned(),
            )
        } else {
            anyhow::ensure!(
                meta.is_file(),
                "{} is no file, directory or link",
                path.display()
            );
            let mode = if meta.permissions().mode() & 0o111 == 0 {
                0o644
            } else {
                0o755
            };
            What::Bytes(fs::read(&path).with_context(doing)?, mode)
        };
        added.push(Added { path: inside, what });
    }
    Ok(())
}

/// Makes `dir`, which is not there yet, a directory with this in it. What is in a directory comes
/// after it.
///
/// # Errors
/// The disk is full, or a file cannot be read.
pub fn lay(dir: &Path, added: &[Added]) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let make = |entry: &Added, mode: u32, to: &Path| -> Result<()> {
        match &entry.what {
            What::Directory => fs::create_dir_all(to)?,
            What::Bytes(bytes, _) => fs::write(to, bytes)?,
            What::File(from, ..) => drop(fs::copy(from, to)?),
            What::Link(target) => return Ok(symlink(target, to)?),
        }
        Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
    };
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    for entry in added {
        let mode = match entry.what {
            What::Bytes(_, mode) | What::File(_, _, mode) => mode,
            What::Directory | What::Link(_) => 0o755,
        };
        let to = dir.join(&entry.path);
        make(entry, mode, &to).with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}

/// The digest of everything that is added.
pub fn digest(added: &[Added]) -> String {
    let mut hasher = Hasher::default();
    for entry in added {
        hasher.field(&entry.path);
        match &entry.what {
            What::Directory => hasher.field("directory"),
            What::Bytes(bytes, mode) => hasher
                .field("file")
                .field(mode.to_string())
                .field(digest::of_bytes(bytes)),
            What::File(_, digest, mode) => {
                hasher.field("file").field(mode.to_string()).field(digest)
            }
            What::Link(target) => hasher.field("link").field(target),
        };
    }
    hasher.hex()
}
