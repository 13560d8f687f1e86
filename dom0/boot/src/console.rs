// SPDX-License-Identifier: GPL-3.0-or-later
//! Lines for whoever watches, on every console that the kernel writes to. A rehearsal reads them
//! too: see `domus-iso`'s timeline.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;

use rustix::fs::OFlags;

/// The kernel's list of consoles. What is written to `/dev/console` goes to the last one only.
const ACTIVE: &str = "/sys/class/tty/console/active";

static OTHERS: OnceLock<Vec<File>> = OnceLock::new();

/// Prints a line that starts with `domus: `.
pub(crate) fn say(line: impl std::fmt::Display) {
    show(&format!("domus: {line}\n"));
}

/// Prints text as it is.
pub(crate) fn show(text: &str) {
    print!("{text}");
    let _ = std::io::stdout().flush();
    for mut console in OTHERS.get().into_iter().flatten() {
        // One that nobody can see holds up nothing.
        let _ = console.write_all(text.as_bytes());
    }
}

/// Begins to write to the other consoles too: once `/sys` and `/dev` are there.
pub(crate) fn open_others() {
    let names = names();
    let others = names.split_last().map_or(&[][..], |(_, others)| others);
    let open = |name: &String| {
        OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(format!("/dev/{name}"))
            .ok()
    };
    let _ = OTHERS.set(others.iter().filter_map(open).collect());
}

/// The terminals that people may type at, the one of `/dev/console` last: `tty1` where the kernel
/// writes to the screen.
pub(crate) fn terminals() -> Vec<String> {
    let terminal = |name: String| match name.as_str() {
        "tty0" => "tty1".to_owned(),
        _ => name,
    };
    names().into_iter().map(terminal).collect()
}

fn names() -> Vec<String> {
    let active = fs::read_to_string(ACTIVE).unwrap_or_default();
    active.split_whitespace().map(str::to_owned).collect()
}
