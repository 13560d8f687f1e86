// SPDX-License-Identifier: GPL-3.0-or-later
//! The lock of all domUs. Whoever starts one shares it; whoever changes what is wanted, or clears
//! away what nobody uses, has it alone.

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
    /// Takes the lock of domUs alone, and waits for whoever has it.
    pub(crate) fn take(paths: &Paths) -> Result<Self> {
        Self::of(&paths.lock(), "that starts domUs")
    }

    /// Shares the lock of domUs, and waits for whoever has it alone.
    pub(crate) fn share(paths: &Paths) -> Result<Self> {
        let (path, whose) = (paths.lock(), "that changes what runs");
        Self::wait(&path, whose, FlockOperation::NonBlockingLockShared)
    }

    /// Takes the lock of domUs alone, unless somebody has it.
    pub(crate) fn try_take(paths: &Paths) -> Result<Option<Self>> {
        let (path, operation) = (paths.lock(), FlockOperation::NonBlockingLockExclusive);
        let file = open(&path)?;
        match flock(&file, operation) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(|| doing(&path)),
        }
    }

    /// Takes the lock at `path` alone; `whose` says who may have it.
    pub(crate) fn of(path: &Path, whose: &str) -> Result<Self> {
        Self::wait(path, whose, FlockOperation::NonBlockingLockExclusive)
    }

    fn wait(path: &Path, whose: &str, operation: FlockOperation) -> Result<Self> {
        let file = open(path)?;
        let begin = Instant::now();
        let mut said = false;
        while let Err(error) = flock(&file, operation) {
            if error != Errno::WOULDBLOCK {
                return Err(error).with_context(|| doing(path));
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

fn open(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| doing(path))?;
    }
    File::create(path).with_context(|| doing(path))
}

fn doing(path: &Path) -> String {
    format!("locking {}", path.display())
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

    #[test]
    fn several_share_it_and_nobody_has_it_alone_then() {
        let dir = tempfile::tempdir().expect("dir");
        let paths = Paths::below(dir.path());
        let shared = [(); 2].map(|()| Lock::share(&paths).expect("shared"));
        assert!(Lock::try_take(&paths).expect("try").is_none());
        drop(shared);
        assert!(Lock::try_take(&paths).expect("try").is_some());
    }
}
