//! Where a boot leaves its serial log and what it was made from.
// SPDX-License-Identifier: GPL-3.0-or-later

use crate::workspace;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory `target/boots/NAME`. It is emptied first; when the test has passed, disks and
/// fleets in it are removed and logs stay.
#[derive(Debug)]
pub struct Boot {
    dir: PathBuf,
}

impl Boot {
    /// Makes it.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new(name: &str) -> Self {
        let dir = workspace().join("target/boots").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).expect("the directory of an earlier boot goes");
        }
        fs::create_dir_all(&dir).expect("a directory");
        Self { dir }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_log = path
                .extension()
                .is_some_and(|end| ["log", "json", "jsonl"].map(AsRef::as_ref).contains(&end));
            if !is_log {
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
    }
}
