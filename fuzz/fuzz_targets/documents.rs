// SPDX-License-Identifier: GPL-3.0-or-later
//! Documents: the first byte says which one, the rest is its content. Whatever it is, `check` ends,
//! and every place that it points at is in the document.
#![no_main]

use domus_model::files::Files;
use domus_model::load::check;
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 9] = [
    "domus.toml",
    "pservers/alpha/host.toml",
    "pservers/alpha/domUs/web.toml",
    "images/base.toml",
    "global/hosts",
    "global/etc.toml",
    "domus.lock",
    "locked/base@1.etc",
    "media.toml",
];

fuzz_target!(|data: &[u8]| {
    let Some((which, content)) = data.split_first() else {
        return;
    };
    let mut files = Files::new();
    files.insert("domus.toml", b"version = 1\nfleet = \"small\"\n".to_vec());
    files.insert("images/base.toml", b"version = 1\nrevision = 1\n".to_vec());
    files.insert(
        "pservers/alpha/host.toml",
        b"version = 1\n[machine]\nserial = \"A\"\nmemory = \"4GiB\"\n[networks.lan]\n".to_vec(),
    );
    files.insert(PATHS[usize::from(*which) % PATHS.len()], content.to_vec());
    for note in check(&files).diagnostics {
        for label in &note.labels {
            assert!(files.content(&label.file).get(label.span.clone()).is_some());
        }
    }
});
