// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a boot leaves its serial log and what it was made from.

use crate::workspace;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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

/// Runs a test that boots PVH domUs in the directory `target/boots/NAME`. QEMU's emulation was
/// seen to kill a PVH guest now and then, which Xen logs as a triple fault
/// (docs/benchmarks.md, "Crashes under emulation"). A test that fails and in whose log there is
/// one is run once more, and says so; its serial log is kept as `NAME.triple-fault.log`. Nothing
/// else is tried twice.
///
/// # Panics
/// As the test does.
pub fn with_pvh(name: &str, test: impl Fn(&Boot)) {
    let boot = Boot::new(name);
    let Err(failure) = catch_unwind(AssertUnwindSafe(|| test(&boot))) else {
        return;
    };
    let log = boot.dir.join("serial.log");
    let kept = boot.dir.with_extension("triple-fault.log");
    let text = fs::read(&log).unwrap_or_default();
    if !String::from_utf8_lossy(&text).contains("Triple fault") {
        resume_unwind(failure);
    }
    fs::write(&kept, text).expect("a copy of the log");
    eprintln!(
        "the emulator killed a PVH guest (see {}): once more",
        kept.display()
    );
    test(&Boot::new(name));
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
