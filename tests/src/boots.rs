// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a boot leaves its serial log and what it was made from.

use crate::workspace;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The directory `target/boots/NAME`. It is emptied first; when the test has passed, disks and
/// fleets in it are removed and logs stay.
#[derive(Debug)]
pub struct Boot {
    dir: PathBuf,
    begin: Instant,
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
        let begin = Instant::now();
        Self { dir, begin }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Says in the output of the test, and in `steps.log`, what it does from now on, and after how
    /// many seconds.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn step(&self, what: &str) {
        let line = format!("{:6.1} s  {what}\n", self.begin.elapsed().as_secs_f64());
        eprint!("{line}");
        let mut options = OpenOptions::new();
        let log = options
            .append(true)
            .create(true)
            .open(self.dir.join("steps.log"));
        log.and_then(|mut log| log.write_all(line.as_bytes()))
            .expect("steps.log");
    }

    /// The sign that the emulator killed a guest, and the file that has it, if there is one.
    pub fn emulators_sign(&self) -> Option<(&'static str, &'static str)> {
        let is_there = |(file, sign): &&(&str, &str)| {
            String::from_utf8_lossy(&self.read(file)).contains(*sign)
        };
        EMULATOR.iter().find(is_there).copied()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.dir.join(file)).unwrap_or_default()
    }

    /// Prints the end of the serial log: where the directory is not kept, it is all there is.
    fn show_end(&self) {
        let log = self.read("serial.log");
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.len().saturating_sub(LAST_LINES);
        eprintln!("the end of the serial log:\n{}", lines[end..].join("\n"));
    }
}

/// So many lines of the serial log are shown when a test has failed.
const LAST_LINES: usize = 60;

/// Signs that the emulator, not Domus, broke a boot: the file below the boot's directory, and what
/// is in it then. A guest that dies for a reason of its own dies again.
const EMULATOR: [(&str, &str); 2] = [("serial.log", "Triple fault"), ("serial.log", "Oops: ")];

/// Runs a test that boots domUs in the directory `target/boots/NAME`. QEMU's emulation was seen to
/// kill guests now and then (docs/benchmarks.md, "Crashes under emulation"). A test that fails
/// with a sign of that is run once more, and says so; its serial log is kept as
/// `NAME.crashed.log`. Nothing else is tried twice.
///
/// # Panics
/// As the test does.
pub fn emulated(name: &str, test: impl Fn(&Boot)) {
    let boot = Boot::new(name);
    let Err(failure) = catch_unwind(AssertUnwindSafe(|| test(&boot))) else {
        return;
    };
    let Some((file, sign)) = boot.emulators_sign() else {
        resume_unwind(failure);
    };
    let kept = boot.dir.with_extension("crashed.log");
    fs::write(&kept, boot.read("serial.log")).expect("a copy of the log");
    let kept = kept.display();
    boot.show_end();
    eprintln!("{sign:?} in {file}: the emulator killed a guest (see {kept}); once more");
    test(&Boot::new(name));
}

impl Drop for Boot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_end();
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
