// SPDX-License-Identifier: GPL-3.0-or-later
//! Progress on standard error: a spinner with the time where that is a terminal, else nothing.

use std::sync::Mutex;
use std::time::Duration;

use domus_build::progress::Progress;
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
