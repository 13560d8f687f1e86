// SPDX-License-Identifier: GPL-3.0-or-later
//! Steps kept by the digest of their inputs: a step whose inputs did not change is not done again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_system::atomic::{self, PendingDir};
use domus_system::digest::Hasher;
use rustix::fs::{FlockOperation, flock};

/// Changes whenever this code would make something else of the same inputs.
const FORMAT: &str = "3";

/// The directory of kept steps.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// The digest of a step's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key from named inputs.
    pub fn new<'a>(inputs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hasher = Hasher::default();
        hasher.field(FORMAT);
        for (name, value) in inputs {
            hasher.field(name).field(value);
        }
        Self(hasher.hex())
    }

    /// 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Cache {
    /// `$DOMUS_CACHE`, else `domus` in `$XDG_CACHE_HOME`, else `~/.cache/domus`.
    ///
    /// # Errors
    /// None of them is set.
    pub fn open() -> Result<Self> {
        let dir = |key: &str| {
            std::env::var_os(key)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let root = dir("DOMUS_CACHE")
            .or_else(|| Some(dir("XDG_CACHE_HOME")?.join("domus")))
            .or_else(|| Some(dir("HOME")?.join(".cache/domus")))
            .context("finding a place for the cache: set DOMUS_CACHE to a directory")?;
        Ok(Self { root })
    }

    /// A cache at `root`.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The directory of the step `kind` with `key`. If it is not kept, `fill` makes it: all of
    /// it, or nothing is kept. Two processes never do the same kind of step at the same time.
    ///
    /// # Errors
    /// Those of `fill`, or the cache cannot be written.
    pub fn step(
        &self,
        kind: &str,
        key: &Key,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let dir = self.root.join(kind);
        let path = dir.join(&key.0);
        if path.is_dir() {
            return Ok(path);
        }
        let doing = || format!("preparing the cache {}", dir.display());
        fs::create_dir_all(&dir).with_context(doing)?;
        // The lock is on the directory itself: it goes with the process and leaves no file.
        let lock = File::open(&dir).with_context(doing)?;
        flock(&lock, FlockOperation::LockExclusive).with_context(doing)?;
        if !path.is_dir() {
            atomic::sweep(&dir);
            let pending = PendingDir::new(&path)?;
            fill(pending.path())?;
            pending.commit()?;
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_done_once_and_a_failed_one_leaves_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let cache = Cache::at(dir.path());
        let key = Key::new([("suite", "trixie")]);
        assert!(
            cache
                .step("base", &key, |_| anyhow::bail!("disk full"))
                .is_err()
        );
        assert_eq!(
            fs::read_dir(dir.path().join("base")).expect("list").count(),
            0
        );
        let made = cache.step("base", &key, |to| Ok(fs::write(to.join("a"), "1")?));
        let again = cache.step("base", &key, |_| anyhow::bail!("done twice"));
        assert_eq!(made.expect("made"), again.expect("kept"));
    }

    #[test]
    fn keys_differ_where_inputs_do() {
        let key = |a, b| Key::new([(a, b)]);
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_eq!(key("a", "b"), key("a", "b"));
    }
}
