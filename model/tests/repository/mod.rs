// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the documents of test repositories; shared by the tests.

use domus_model::files::{BlobId, Files, Leaf, LeafKind};
use std::fs;
use std::path::{Path, PathBuf};

/// This crate's directory.
pub(crate) fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents below `root`.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn read(root: &Path) -> Files {
    let mut files = Files::new();
    add(&mut files, root, "");
    files
}

/// Adds the documents below `dir`, in which `prefix` is the path of their repository's directory.
pub(crate) fn add(files: &mut Files, dir: &Path, prefix: &str) {
    for path in sorted(dir) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let inside = format!("{prefix}{name}");
        if path.is_dir() && !path.is_symlink() {
            add(files, &path, &format!("{inside}/"));
            continue;
        }
        if Files::lists(&inside) {
            let kind = match path.is_symlink() {
                true => LeafKind::Link,
                false => LeafKind::File,
            };
            let id = BlobId([0; 20]);
            files.insert_leaf(inside.as_str(), Leaf { kind, id });
        }
        if Files::wants(&inside) && !path.is_symlink() {
            files.insert(inside, fs::read(&path).expect("a readable file"));
        }
    }
}

/// What is in a directory, by name.
pub(crate) fn sorted(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a readable directory");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
