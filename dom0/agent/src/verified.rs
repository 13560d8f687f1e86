// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether the files of an image hold what its manifest says. Reading them takes longer than
//! starting a domU, so it is done once a boot, and again for a file that is another one since.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_system::digest;

/// Makes sure that each of `files` has its SHA-256. `note`: the file in RAM that remembers it; who
/// starts another domU from the same image waits for it.
///
/// # Errors
/// One has another, or cannot be read.
pub(crate) fn ensure_verified(note: &Path, files: &[(PathBuf, &str)]) -> Result<()> {
    let doing = || format!("writing {}", note.display());
    if let Some(dir) = note.parent() {
        fs::create_dir_all(dir).with_context(doing)?;
    }
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(note).with_context(doing)?;
    file.lock().with_context(doing)?;
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(doing)?;
    // A line that a killed process has left half written is that of no file.
    let mut known: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let before = known.len();
    for (path, sha256) in files {
        let line = line(path, sha256)?;
        if known.contains(&line) {
            continue;
        }
        let found = digest::of_file(path)?;
        ensure!(
            found == *sha256,
            "{} has the SHA-256 {found}, its manifest says {sha256}",
            path.display()
        );
        known.insert(line);
    }
    if known.len() > before {
        let lines: String = known.iter().map(|line| format!("{line}\n")).collect();
        file.rewind().with_context(doing)?;
        file.write_all(lines.as_bytes()).with_context(doing)?;
    }
    Ok(())
}

/// What tells this file with this content from all others, as long as the host does not boot: its
/// change time cannot be set.
fn line(path: &Path, sha256: &str) -> Result<String> {
    let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
    let (dev, inode, size) = (meta.dev(), meta.ino(), meta.size());
    let changed = [
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ];
    Ok(format!("{dev} {inode} {size} {changed:?} {sha256}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_file_is_read_once_and_again_when_it_is_another() {
        let dir = tempfile::tempdir().expect("dir");
        let (note, path) = (dir.path().join("run/base@1"), dir.path().join("root.img"));
        fs::write(&path, "content").expect("written");
        let right = digest::of_bytes("content");
        let files = [(path.clone(), right.as_str())];
        let check = || ensure_verified(&note, &files);
        check().expect("right");
        let noted = fs::read_to_string(&note).expect("a note");
        assert_eq!(noted.lines().count(), 1);
        check().expect("known");
        assert_eq!(fs::read_to_string(&note).expect("a note"), noted);

        // The same size, and the time set back: its change time gives it away.
        let before = fs::metadata(&path).expect("meta").modified().expect("time");
        fs::write(&path, "CONTENT").expect("written");
        let file = File::options().write(true).open(&path).expect("open");
        file.set_modified(before).expect("set back");
        let error = check().expect_err("another").to_string();
        assert!(error.contains(&digest::of_bytes("CONTENT")), "{error}");
        assert!(error.contains(&right), "{error}");
        assert_eq!(fs::read_to_string(&note).expect("a note"), noted);

        fs::write(&path, "content").expect("written");
        let later = SystemTime::now() + Duration::from_secs(60);
        file.set_modified(later).expect("set");
        check().expect("right again");
        let noted = fs::read_to_string(&note).expect("a note");
        assert_eq!(noted.lines().count(), 2, "{noted}");
        fs::write(&note, &noted[..noted.len() / 2]).expect("cut");
        check().expect("read again");
    }
}
