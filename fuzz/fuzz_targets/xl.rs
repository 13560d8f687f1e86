// SPDX-License-Identifier: GPL-3.0-or-later
//! Domain configurations of xl: what is taken over is a document that is TOML.
#![no_main]

use domus_model::files::Files;
use domus_model::load::check;
use domus_model::xl::{Options, convert, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(config) = parse(text) else { return };
    let options = Options {
        image: Some("base@1".parse().expect("an image")),
        ..Options::default()
    };
    if let Ok(imported) = convert(&config, &options) {
        let mut files = Files::new();
        let path = format!("pservers/alpha/domUs/{}.toml", imported.name);
        files.insert(path.as_str(), imported.document.into_bytes());
        let notes = check(&files).diagnostics;
        let mut own = notes.iter().filter(|note| note.labels[0].file == path);
        assert!(own.all(|note| !note.message.contains("not TOML")));
    }
});
