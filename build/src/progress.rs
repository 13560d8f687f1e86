// SPDX-License-Identifier: GPL-3.0-or-later
//! Telling whoever waits what is being done.

/// Hears of each step. The command line shows it; tests and libraries need not.
pub trait Progress: Sync {
    /// A step begins that takes a while, as "debian trixie, 12 packages".
    fn begin(&self, what: &str);
    /// The step that began last has ended.
    fn end(&self);
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str) {}
    fn end(&self) {}
}

/// Runs `work` as a step.
///
/// # Errors
/// Those of `work`.
pub fn step<T>(
    progress: &dyn Progress,
    what: &str,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    progress.begin(what);
    let result = work();
    progress.end();
    result
}
