// SPDX-License-Identifier: GPL-3.0-or-later
//! Properties that hold for any input: no panic, places inside their documents, round trips.

mod repository;

use domus_model::diagnostic::{Severity, position};
use domus_model::files::Files;
use domus_model::layers::{Owner, Users};
use domus_model::load::check;
use domus_model::names::{ImageRef, Name};
use domus_model::secrets::{Recipient, Recipients};
use domus_model::units::{Interval, Mac, Size};
use proptest::prelude::*;
use repository::{identify, manifest_dir, read};
use std::fs;

/// The documents of the template.
const PATHS: [&str; 5] = [
    "domus.toml",
    "pservers/alpha/host.toml",
    "pservers/alpha/domUs/web.toml",
    "pservers/alpha/domUs/db.toml",
    "images/base.toml",
];

fn template() -> Vec<Vec<u8>> {
    let root = manifest_dir().join("../config-repo-template");
    let read = |path| fs::read(root.join(path)).expect("a readable document");
    PATHS.into_iter().map(read).collect()
}

/// Checks documents, and that whatever comes of it is as callers rely on.
fn check_anything(files: &Files) {
    let checked = check(files);
    let is_error = |severity| severity == Severity::Error;
    let mut severities = checked.diagnostics.iter().map(|note| note.severity);
    assert_eq!(checked.fleet.is_none(), severities.any(is_error));
    for note in &checked.diagnostics {
        assert!(note.labels.first().is_some_and(|label| label.primary));
        let help = note.help.iter();
        let mut texts = help
            .chain([&note.message])
            .chain(note.labels.iter().map(|it| &it.text));
        assert!(
            texts.all(|text| !text.contains(char::is_control)),
            "{note:?}"
        );
        for label in &note.labels {
            let content = files.content(&label.file);
            let part = content.get(label.span.clone()).expect("a place inside");
            assert!(std::str::from_utf8(content).is_err() || std::str::from_utf8(part).is_ok());
            let at = position(content, label.span.start);
            assert!(at.line >= 1 && at.column >= 1);
        }
    }
}

/// A change to a document: these bytes at this place instead of so many.
fn change() -> impl Strategy<Value = (usize, usize, usize, Vec<u8>)> {
    let words = prop::sample::select(vec![
        "",
        "\"",
        "=",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\"\"",
        "#",
        "-1",
        "1e9",
        "true",
        "''",
        "[[",
        "]]",
        "\"256MBB\"",
        "version",
        "= 1",
        "\u{1b}",
        "ü",
        "'''",
        "after = [\"web\"]\n",
        "[machine]\n",
    ]);
    let text = prop_oneof![
        4 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<Vec<u8>>(),
        1 => any::<String>().prop_map(String::into_bytes),
    ];
    (0..PATHS.len(), 0..600_usize, 0..40_usize, text)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_documents_do_no_harm(path in 0..PATHS.len(), content: Vec<u8>, text: String) {
        let mut files = Files::new();
        files.insert(PATHS[path], content);
        files.insert("images/other.toml", text.into_bytes());
        check_anything(&files);
    }

    #[test]
    fn arbitrary_paths_do_no_harm(paths: Vec<String>, name: String) {
        let mut files = Files::new();
        files.insert(format!("pservers/{name}/host.toml"), Vec::new());
        files.insert(format!("pservers/alpha/{name}/{name}.toml"), Vec::new());
        files.insert(format!("images/{name}.toml"), b"version = 1".to_vec());
        for path in paths {
            files.insert(path, Vec::new());
        }
        check_anything(&files);
    }

    #[test]
    fn a_damaged_template_does_no_harm(changes in prop::collection::vec(change(), 1..4)) {
        let mut documents = template();
        for (document, at, length, text) in changes {
            let document = &mut documents[document];
            let start = at.min(document.len());
            let end = (start + length).min(document.len());
            document.splice(start..end, text);
        }
        let mut files = Files::new();
        for (path, content) in PATHS.into_iter().zip(documents) {
            files.insert(path, content);
        }
        check_anything(&files);
    }

    #[test]
    fn arbitrary_values_do_no_harm(value: String, key: String, number: i64) {
        let mut files = Files::new();
        let text = format!(
            "version = 1\nimage = {value:?}\nvcpus = {number}\nafter = [{value:?}]\n{key:?} = 1\n\
             [[network]]\nmac = {value:?}\n[[disk]]\nsize = {value:?}\nmount = {value:?}\n"
        );
        files.insert("pservers/alpha/domUs/web.toml", text.into_bytes());
        let text = format!("[networks.{key:?}]\naddress = {value:?}\nports = [{value:?}]\n");
        files.insert("pservers/alpha/host.toml", text.into_bytes());
        check_anything(&files);
    }

    #[test]
    fn arbitrary_layers_do_no_harm(
        etc in "(remove|secret|version|files|=|\\[|\\]|\"[a-z/.]{0,9}\"|,|\n|\\.){0,24}",
        template in "(\\{\\{|\\}\\}|\\{%|%\\}|for|in|endfor|if|endif|site|domus|\\.|name| |ü|\"|\n|\\||[0-9*+-]){0,24}",
        secret: Vec<u8>,
        paths in prop::collection::vec("[a-z./ü\n]{1,12}(\\.tmpl|\\.age)?", 0..6),
    ) {
        let mut files = read(&manifest_dir().join("../config-repo-template"));
        let layers = ["global", "pservers/alpha", "vservers/web", "groups/none"];
        for layer in layers {
            let listed = format!("version = 1\nsecret = [\"k.age\"]\n{etc}");
            files.insert(format!("{layer}/etc.toml"), listed.into_bytes());
            let secret = [b"age-encryption.org/v1\n-> ", &secret[..]].concat();
            identify(&mut files, &format!("{layer}/etc/k.age"), &secret, false);
            let path = format!("{layer}/etc/t.tmpl");
            identify(&mut files, &path, template.as_bytes(), false);
            for (index, path) in paths.iter().enumerate() {
                let path = format!("{layer}/etc/{path}");
                identify(&mut files, &path, template.as_bytes(), index % 2 == 0);
            }
        }
        check_anything(&files);
    }

    #[test]
    fn arbitrary_age_files_and_keys_do_no_harm(file: Vec<u8>, text: String) {
        let _ = Recipients::parse(&file);
        let _ = Recipients::parse(&[b"age-encryption.org/v1\n", &file[..]].concat());
        if let Ok(key) = text.parse::<Recipient>() {
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }
        if let Ok(owner) = text.parse::<Owner>() {
            prop_assert_eq!(owner.to_string(), text.clone());
        }
        if let Ok(interval) = text.parse::<Interval>() {
            prop_assert_eq!(interval.to_string().parse(), Ok(interval));
        }
        let _ = Users::parse(&text, &text);
    }

    #[test]
    fn sizes_survive_writing(kib: u64) {
        let size = Size::from_kib(kib);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
        let json = serde_json::to_string(&size)?;
        prop_assert_eq!(serde_json::from_str::<Size>(&json)?, size);
    }

    #[test]
    fn macs_survive_writing(octets: [u8; 6]) {
        if let Ok(mac) = Mac::new(octets) {
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
            prop_assert_eq!(mac.to_string().to_uppercase().parse(), Ok(mac));
            prop_assert_eq!(serde_json::from_str::<Mac>(&serde_json::to_string(&mac)?)?, mac);
        }
    }

    #[test]
    fn names_survive_writing(text: String, good in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?") {
        prop_assert!(good.parse::<Name>().is_ok_and(|name| name.as_str() == good));
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        if let Some(name) = Name::nearest(&text) {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn image_refs_survive_writing(name in "[a-z0-9]{1,9}", revision in 1..u32::MAX) {
        let text = format!("{name}@{revision}");
        prop_assert!(text.parse::<ImageRef>().is_ok_and(|image| image.to_string() == text));
    }

    #[test]
    fn values_are_read_or_refused(text: String) {
        let refused = [
            text.parse::<Size>().err(),
            text.parse::<Mac>().err(),
            text.parse::<ImageRef>().err(),
        ];
        for bad in refused.into_iter().flatten() {
            prop_assert!(!bad.problem.is_empty() && !bad.advice.is_empty());
        }
    }
}
