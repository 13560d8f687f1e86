// SPDX-License-Identifier: GPL-3.0-or-later
//! Files and directories that appear whole under their final name, or not at all.
//!
//! Work goes to a temporary name in the same directory; it is synced, renamed, and the directory
//! is synced. What is dropped before that is removed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::{Builder, NamedTempFile, TempDir};

/// Prefix of temporary names: what carries it after a power cut may be deleted.
pub const TEMPORARY: &str = ".domus-tmp-";

/// A file being written for `path`.
#[derive(Debug)]
pub struct Pending {
    file: NamedTempFile,
    path: PathBuf,
}

impl Pending {
    /// Begins a file that will be `path`. Its directory is made if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn new(path: &Path) -> Result<Self> {
        let file = Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(parent(path)?)
            .with_context(|| format!("making a temporary file beside {}", path.display()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Where the content is for now: for programs that write by name.
    pub fn temporary(&self) -> &Path {
        self.file.path()
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Syncs, sets `mode` and gives the file its final name, replacing what had it.
    ///
    /// # Errors
    /// A full disk, or the rename is refused; the temporary file is removed.
    pub fn commit(self, mode: u32) -> Result<()> {
        let doing = || format!("writing {}", self.path.display());
        // A program may have replaced the file by name, so the name is synced, not our handle.
        File::open(self.file.path())
            .and_then(|file| file.sync_all())
            .with_context(doing)?;
        fs::set_permissions(self.file.path(), fs::Permissions::from_mode(mode))
            .with_context(doing)?;
        let path = self.path.clone();
        self.file
            .persist(&path)
            .with_context(|| format!("writing {}", path.display()))?;
        sync_dir(parent(&path)?)
    }
}

/// Writes `bytes` to `path` with `mode`, whole or not at all.
///
/// # Errors
/// As [`Pending`].
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut pending = Pending::new(path)?;
    pending
        .file()
        .write_all(bytes)
        .with_context(|| format!("writing {}", path.display()))?;
    pending.commit(mode)
}

/// Writes several files, each a path with its bytes and mode, in this order: all, or none as far as
/// files allow. All are on the disk before the first gets its name; if one then does not get its own,
/// those before it get back what they had. A power cut in between leaves some of each.
///
/// # Errors
/// As [`Pending`].
pub fn write_all(files: &[(PathBuf, Vec<u8>, u32)]) -> Result<()> {
    let mut pending = Vec::new();
    for (path, bytes, mode) in files {
        let before = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(format!("reading {}", path.display())),
        };
        let mut file = Pending::new(path)?;
        let mut write = || {
            file.file().write_all(bytes)?;
            file.file().sync_all()
        };
        write().with_context(|| format!("writing {}", path.display()))?;
        pending.push((file, (path, before, *mode)));
    }
    let mut written = Vec::new();
    for (file, old) in pending {
        let mode = old.2;
        written.push(old);
        if let Err(error) = file.commit(mode) {
            restore(&written);
            return Err(error);
        }
    }
    Ok(())
}

/// Gives files back what they had. The error that led here is told; one here would only hide it.
fn restore(written: &[(&PathBuf, Option<Vec<u8>>, u32)]) {
    for (path, before, mode) in written {
        let _ = match before {
            Some(bytes) => write(path, bytes, *mode),
            None => fs::remove_file(path).map_err(Into::into),
        };
    }
}

/// A directory being filled for `path`.
#[derive(Debug)]
pub struct PendingDir {
    dir: TempDir,
    path: PathBuf,
}

impl PendingDir {
    /// Begins a directory that will be `path`.
    ///
    /// # Errors
    /// The parent cannot be made or written.
    pub fn new(path: &Path) -> Result<Self> {
        let dir = Builder::new()
            .prefix(TEMPORARY)
            .tempdir_in(parent(path)?)
            .with_context(|| format!("making a temporary directory beside {}", path.display()))?;
        Ok(Self {
            dir,
            path: path.to_owned(),
        })
    }

    /// Where to put the files.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Syncs every file and gives the directory its final name. One that already has it is
    /// replaced: it is moved aside first, and deleted last.
    ///
    /// # Errors
    /// A file cannot be synced or a rename is refused; the old directory is then still there.
    pub fn commit(self) -> Result<()> {
        sync_tree(self.dir.path())?;
        let parent = parent(&self.path)?.to_owned();
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755))
            .with_context(|| format!("setting the mode of {}", self.dir.path().display()))?;
        let aside = Builder::new().prefix(TEMPORARY).tempdir_in(&parent)?;
        if self.path.exists() {
            fs::rename(&self.path, aside.path().join("old"))
                .with_context(|| format!("moving the old {} aside", self.path.display()))?;
        }
        if let Err(error) = fs::rename(self.dir.path(), &self.path) {
            let _ = fs::rename(aside.path().join("old"), &self.path);
            return Err(error).with_context(|| format!("renaming to {}", self.path.display()));
        }
        let _ = self.dir.keep();
        sync_dir(&parent)
    }
}

/// Removes what an interrupted run left behind in `dir`: temporaries older than a day.
pub fn sweep(dir: &Path) {
    let day = std::time::Duration::from_secs(24 * 3600);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let old = entry.metadata().and_then(|m| m.modified()).ok();
        let old = old
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|age| age > day);
        if old && entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
}

/// Makes a rename or creation in `dir` durable.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("syncing the directory {}", dir.display()))
}

fn sync_tree(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .with_context(|| format!("syncing {}", path.display()))?;
        }
    }
    sync_dir(dir)
}

/// The directory of `path`, made if it is missing.
fn parent(path: &Path) -> Result<&Path> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    Ok(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("list");
        entries
            .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_file_appears_whole_and_what_is_dropped_leaves_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("sub/file");
        drop(Pending::new(&path).expect("pending"));
        assert!(names(&dir.path().join("sub")).is_empty());
        write(&path, b"one", 0o644).expect("write");
        write(&path, b"two", 0o600).expect("write");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(
            fs::metadata(&path).expect("stat").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names(&dir.path().join("sub")), ["file"]);
    }

    #[test]
    fn of_several_files_all_are_written_or_none() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name);
        let files = |names: &[&str], text: &str| -> Vec<_> {
            let file = |name: &&str| (path(name), text.as_bytes().to_vec(), 0o644);
            names.iter().map(file).collect()
        };
        write_all(&files(&["a", "b"], "old")).expect("written");
        // Nothing gets the name of a directory: that shows first, before anything has its name.
        fs::create_dir(path("directory")).expect("made");
        write_all(&files(&["a", "new", "directory"], "new")).expect_err("refused");
        assert_eq!(names(dir.path()).len(), 3);
        assert_eq!(fs::read(path("a")).expect("read"), b"old");
        // `last` is a directory by the time that it gets its name: those before it have theirs.
        write_all(&files(&["a", "new", "last", "last/deep"], "new")).expect_err("refused");
        assert_eq!(fs::read(path("a")).expect("read"), b"old");
        assert!(!path("new").exists() && names(&path("last")).is_empty());
    }

    #[test]
    fn a_directory_replaces_the_old_one_as_a_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("out");
        for content in ["one", "two"] {
            let pending = PendingDir::new(&path).expect("pending");
            fs::write(pending.path().join(content), content).expect("write");
            pending.commit().expect("commit");
            assert_eq!(names(&path), [content]);
        }
        assert_eq!(names(dir.path()), ["out"]);
    }
}
