// SPDX-License-Identifier: GPL-3.0-or-later
//! The lock of all domUs. Whoever starts one shares it; whoever changes what is wanted, or clears
//! away what nobody uses, has it alone.

use std::fs::File;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use domus_system::flock::{Share, try_lock};
use domus_system::interrupt;

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
        Self::wait(&paths.lock(), "that changes what runs", Share::Shared)
    }

    /// Takes the lock of domUs alone, unless somebody has it.
    pub(crate) fn try_take(paths: &Paths) -> Result<Option<Self>> {
        let file = try_lock(&paths.lock(), Share::Alone)?;
        Ok(file.map(|file| Self { _file: file }))
    }

    /// Takes the lock at `path` alone; `whose` says who may have it.
    pub(crate) fn of(path: &Path, whose: &str) -> Result<Self> {
        Self::wait(path, whose, Share::Alone)
    }

    fn wait(path: &Path, whose: &str, share: Share) -> Result<Self> {
        let begin = Instant::now();
        let mut said = false;
        loop {
            if let Some(file) = try_lock(path, share)? {
                return Ok(Self { _file: file });
            }
            if !said && begin.elapsed() > SILENCE {
                eprintln!("domus-dom0: waiting for another domus-dom0 {whose}");
                said = true;
            }
            // Not by a blocking call: that would not see Ctrl-C.
            interrupt::check()?;
            sleep(LOOK);
        }
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
