// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the documents of test repositories; shared by the tests.

use domus_model::files::{BlobId, Files, Leaf, LeafKind};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// This crate's directory.
#[allow(dead_code, reason = "not every test needs it")]
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
        let content = match path.is_symlink() {
            true => Vec::new(),
            false => fs::read(&path).expect("a readable file"),
        };
        identify(files, &inside, &content, path.is_symlink());
    }
}

/// Adds a file or link, as those do who read repositories.
pub(crate) fn identify(files: &mut Files, path: &str, content: &[u8], is_link: bool) {
    if Files::lists(path) {
        let kind = match is_link {
            true => LeafKind::Link,
            false => LeafKind::File,
        };
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let mut id = BlobId([0; 20]);
        id.0[..8].copy_from_slice(&hasher.finish().to_be_bytes());
        files.insert_leaf(path, Leaf { kind, id });
    }
    if Files::wants(path) && !is_link {
        files.insert(path, content.to_vec());
    }
}

/// What is in a directory, by name.
pub(crate) fn sorted(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a readable directory");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
