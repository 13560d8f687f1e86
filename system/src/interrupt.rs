// SPDX-License-Identifier: GPL-3.0-or-later
//! Ctrl-C and SIGTERM as a question that long work asks, so that what was begun is cleared away.
//!
//! A process that is killed by a signal runs no destructors: temporary files stay. Commands that
//! build call [`catch`] once; [`crate::program`] then ends the child it waits for and returns an
//! error, and everything unwinds in order.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static CAUGHT: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP set a flag. A second one ends the process at once.
///
/// # Errors
/// The operating system refuses the handler.
pub fn catch() -> std::io::Result<()> {
    let flag = CAUGHT.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))?;
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Whether a signal came since [`catch`].
pub fn caught() -> bool {
    CAUGHT
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An error if a signal came: for the head of a loop.
///
/// # Errors
/// "interrupted", once a signal was caught.
pub fn check() -> anyhow::Result<()> {
    anyhow::ensure!(
        !caught(),
        "interrupted: what was begun has been cleared away"
    );
    Ok(())
}
