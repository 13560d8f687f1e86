// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines for whoever watches the console. A rehearsal reads them too: see `domus-iso`'s timeline.

/// Prints a line that starts with `domus: `.
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("domus: {line}");
}

/// Prints text as it is.
pub(crate) fn show(text: &str) {
    print!("{text}");
}
