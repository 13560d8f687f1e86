// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus.lock` of a work tree, for who builds: read, compared with what was built, written.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use domus_model::contents::EtcList;
use domus_model::diagnostic::Diagnostic;
use domus_model::lock::{LOCK, Lock, Sha256};
use domus_model::schema::Vocabulary;
use domus_system::atomic;

use crate::refused::Refused;

/// The lock, which nobody else changes meanwhile.
#[derive(Debug)]
pub(crate) struct WorkLock {
    root: PathBuf,
    /// What it says; to be written with [`WorkLock::write`].
    pub(crate) lock: Lock,
    /// Held on the directory itself: that leaves no file, and goes with the process.
    _held: File,
}

impl WorkLock {
    /// Reads the lock of the repository `root`; waits for others who write it.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let path = root.join(LOCK);
        let reading = || format!("reading {}", path.display());
        let held = File::open(root).with_context(reading)?;
        held.lock().with_context(reading)?;
        let lock = match fs::read(&path) {
            Ok(content) => Lock::read(&content).map_err(|problems| {
                let lines: Vec<String> = problems.iter().map(Diagnostic::line).collect();
                anyhow!("{}; nothing was written", lines.join("; "))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Lock::default(),
            Err(error) => return Err(error).with_context(reading),
        };
        Ok(Self {
            root: root.to_owned(),
            lock,
            _held: held,
        })
    }

    /// Writes it, what the release of this version, which was built, has in `/etc`, and what it can
    /// read of documents: what this Domus can, whose agent is in it.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn write_release(self, version: &str, etc: &EtcList) -> Result<()> {
        let vocabulary = Vocabulary::of_this_domus().render();
        update(&self.root.join(Vocabulary::path(version)), &vocabulary)?;
        self.write(version, Some(etc))
    }

    /// Writes it, and what `name`, which was built, has in `/etc`, if somebody knows.
    ///
    /// # Errors
    /// The disk is full or read-only.
    pub(crate) fn write(self, name: impl Display, etc: Option<&EtcList>) -> Result<()> {
        if let Some(etc) = etc {
            update(&self.root.join(EtcList::path(name)), &etc.render())?;
        }
        update(&self.root.join(LOCK), &self.lock.render())
    }
}

/// Writes a file, if it differs from what is there.
fn update(path: &Path, text: &str) -> Result<()> {
    match fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        true => Ok(()),
        false => atomic::write(path, text.as_bytes(), 0o644),
    }
}

/// Enters what was built under `name`. `raise` says where it gets another.
///
/// # Errors
/// Refused: `name` stands for something else.
pub(crate) fn enter<K: Ord + Display>(
    entries: &mut BTreeMap<K, Sha256>,
    name: K,
    built: Sha256,
    relock: bool,
    what: &str,
    raise: &str,
) -> Result<(), Refused> {
    let known = entries.get(&name).filter(|known| **known != built);
    if let (Some(known), false) = (known, relock) {
        return Err(Refused(format!(
            "{what} {name} is locked to another digest, so nothing was written\n\
             \x20 {LOCK}  {known}\n\
             \x20 built       {built}\n\
             help: {raise}; or replace the entry with --relock: whoever has the old one will not \
             run it"
        )));
    }
    entries.insert(name, built);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: &str) -> Sha256 {
        Sha256::from_hex(&digit.repeat(64)).expect("a digest")
    }

    #[test]
    fn a_name_stands_for_one_thing_until_it_is_told_otherwise() {
        let mut entries = BTreeMap::from([("web@7", digest("a"))]);
        let mut enter = |name, digit, relock| {
            let raise = "raise `revision` in images/web.toml";
            super::enter(&mut entries, name, digest(digit), relock, "image", raise)
        };
        assert_eq!(enter("web@7", "a", false), Ok(()));
        assert_eq!(enter("web@8", "b", false), Ok(()));
        let Refused(refused) = enter("web@7", "c", false).expect_err("refused");
        for part in [
            "image web@7 is locked",
            "sha256:aaaa",
            "sha256:cccc",
            "--relock",
        ] {
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(enter("web@7", "c", true), Ok(()));
        let expected = [("web@7", digest("c")), ("web@8", digest("b"))];
        assert_eq!(entries, BTreeMap::from(expected));
    }

    #[test]
    fn what_others_wrote_is_kept_and_what_is_damaged_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("dir");
        for (image, digit) in [("web@7", "a"), ("db@1", "b"), ("web@7", "c")] {
            let mut work = WorkLock::open(dir.path()).expect("open");
            let name = image.parse().expect("an image");
            work.lock.images.insert(name, digest(digit));
            let etc = EtcList::parse(digit).expect("a list");
            work.write(image, Some(&etc)).expect("written");
        }
        let list = fs::read_to_string(dir.path().join("locked/web@7.etc"));
        assert_eq!(list.expect("a list"), "c\n");
        let work = WorkLock::open(dir.path()).expect("open");
        let images: Vec<String> = work.lock.images.keys().map(ToString::to_string).collect();
        assert_eq!(images, ["db@1", "web@7"]);
        drop(work);
        let path = dir.path().join(LOCK);
        fs::write(&path, "version = 1\n<<<<<<< HEAD\n").expect("written");
        let error = WorkLock::open(dir.path()).expect_err("damaged").to_string();
        assert!(error.contains("nothing was written"), "{error}");
    }
}
