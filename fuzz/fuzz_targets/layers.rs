// SPDX-License-Identifier: GPL-3.0-or-later
//! Layers: a zero byte parts etc.toml, a template and a secret.
#![no_main]

use domus_model::files::{BlobId, Files, Leaf, LeafKind};
use domus_model::load::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default().to_vec();
    let mut files = Files::new();
    files.insert("domus.toml", b"version = 1\nfleet = \"small\"\nvars.site = \"north\"\n".to_vec());
    files.insert(
        "pservers/alpha/host.toml",
        b"version = 1\n[machine]\nserial = \"A\"\nmemory = \"4GiB\"\n".to_vec(),
    );
    files.insert("global/etc.toml", part());
    for path in ["global/etc/t.tmpl", "global/etc/k.age"] {
        let leaf = Leaf {
            kind: LeafKind::File,
            id: BlobId([0; 20]),
        };
        files.insert_leaf(path, leaf);
        files.insert(path, part());
    }
    for note in check(&files).diagnostics {
        for label in &note.labels {
            assert!(files.content(&label.file).get(label.span.clone()).is_some());
        }
    }
});
