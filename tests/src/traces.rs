// SPDX-License-Identifier: GPL-3.0-or-later
//! What a program that was stopped might leave on this machine: mounts, loop devices, processes,
//! files.

use crate::ran::Ran;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Mounts and loop devices of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    mounts: BTreeSet<String>,
    loops: BTreeSet<String>,
}

impl Traces {
    /// Those of now.
    ///
    /// # Panics
    /// They cannot be listed.
    pub fn now() -> Self {
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        Self {
            mounts: lines(&fs::read_to_string("/proc/self/mounts").expect("mounts")),
            loops: lines(&Ran::program("losetup", &["--all"])),
        }
    }
}

/// Every file below `dir` and every directory in it that is empty, relative to it.
pub fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(dir, dir, &mut found);
    found.sort();
    found
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    if paths.is_empty() && dir != root {
        found.push(dir.strip_prefix(root).unwrap_or(dir).to_owned());
    }
    for path in paths {
        if path.is_dir() && !path.is_symlink() {
            collect(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
}

/// Processes that work on `dir`: it is in their arguments, or their root or working directory is
/// below it. Each with its arguments.
pub fn processes(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter(|entry| entry.file_name().as_bytes()[0].is_ascii_digit());
    let own = std::process::id().to_string();
    processes
        .filter(|entry| entry.file_name() != own.as_str())
        .filter_map(|entry| {
            let path = entry.path();
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let is_below = |link: &str| {
                fs::read_link(path.join(link)).is_ok_and(|target| target.starts_with(dir))
            };
            let named = line.contains(&*dir.to_string_lossy());
            (named || is_below("root") || is_below("cwd"))
                .then(|| format!("{}: {line}", entry.file_name().to_string_lossy()))
        })
        .collect()
}

/// Root directories below `dir` that processes run in.
pub fn roots(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let roots = entries.filter_map(|entry| fs::read_link(entry.path().join("root")).ok());
    roots.filter(|root| root.starts_with(dir)).collect()
}
