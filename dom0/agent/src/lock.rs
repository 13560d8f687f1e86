// SPDX-License-Identifier: GPL-3.0-or-later
//! The lock that whoever starts or clears away domUs holds: one at a time.

use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domus_system::interrupt;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::paths::Paths;

/// How long to wait without a word.
const SILENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

/// Held until it is dropped; the kernel releases it if the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of domUs, and waits for whoever has it.
    pub(crate) fn take(paths: &Paths) -> Result<Self> {
        Self::of(&paths.lock(), "that starts domUs")
    }

    /// Takes the lock at `path`; `whose` says who may have it.
    pub(crate) fn of(path: &Path, whose: &str) -> Result<Self> {
        let doing = || format!("locking {}", path.display());
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(doing)?;
        }
        let file = File::create(path).with_context(doing)?;
        let begin = Instant::now();
        let mut said = false;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(error).with_context(doing);
            }
            if !said && begin.elapsed() > SILENCE {
                eprintln!("domus-dom0: waiting for another domus-dom0 {whose}");
                said = true;
            }
            // Not by a blocking call: that would not see Ctrl-C.
            interrupt::check()?;
            sleep(LOOK);
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn one_has_it_at_a_time() {
        let dir = tempfile::tempdir().expect("dir");
        let paths = Paths::below(dir.path());
        let first = Lock::take(&paths).expect("free");
        let released = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _lock = Lock::take(&paths).expect("free at last");
                released.load(Ordering::SeqCst)
            });
            sleep(Duration::from_millis(200));
            released.store(true, Ordering::SeqCst);
            drop(first);
            assert!(second.join().expect("join"), "it waited");
        });
    }
}
