// SPDX-License-Identifier: GPL-3.0-or-later
//! Progress on standard error: a spinner with the time where that is a terminal, else nothing.

use std::sync::Mutex;
use std::time::Duration;

use domus_build::progress::Progress;
use domus_system::burn::Phase;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows steps as they are done.
#[derive(Debug, Default)]
pub(crate) struct Terminal(Mutex<Option<ProgressBar>>);

impl Progress for Terminal {
    fn begin(&self, what: &str) {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>5}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Ok(mut current) = self.0.lock() {
            *current = Some(bar);
        }
    }

    fn end(&self) {
        let current = self.0.lock().ok().and_then(|mut current| current.take());
        if let Some(bar) = current {
            bar.finish_and_clear();
        }
    }
}

/// A bar for what is written and read back.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// One for so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        let template = "{msg:>8}  {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// So many bytes are done.
    pub(crate) fn show(&self, phase: Phase, done: u64) {
        self.0.set_message(match phase {
            Phase::Write => "writing",
            Phase::Compare => "reading",
        });
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
