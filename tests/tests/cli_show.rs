// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus show` and `domus schema` as an operator meets them.

use domus_tests::{domus, workspace};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What `domus` prints with these arguments in the template, and its exit code.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = domus(dir).args(args).output().expect("domus runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_host_and_a_domu_are_shown_with_their_places() {
    let template = workspace().join("config-repo-template");
    for name in ["alpha", "web"] {
        let (code, text, errors) = run(&template, &["show", name]);
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn json_has_the_document_and_the_places() {
    let template = workspace().join("config-repo-template");
    let (_, text, _) = run(&template, &["show", "web", "--json"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["kind"], "domU");
    assert_eq!(report["host"], "alpha");
    assert_eq!(report["settings"]["network"][0]["bridge"], "lan");
    let written = report["written"].as_array().expect("a list");
    let memory = written.iter().find(|it| it["setting"] == "memory");
    let memory = memory.expect("it is written");
    assert_eq!(memory["file"], "pservers/alpha/domUs/web.toml");
    let (_, text, _) = run(&template, &["show", "alpha", "--json"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&report["kind"], &report["host"]),
        (&"host".into(), &Value::Null)
    );
    assert_eq!(report["settings"]["domUs"]["web"]["kind"], "pvh");
}

#[test]
fn who_is_not_there_or_broken_is_not_shown() {
    let template = workspace().join("config-repo-template");
    let (code, text, errors) = run(&template, &["show", "nobody"]);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(errors.contains("no host and no domU nobody"), "{errors}");

    let dir = tempfile::tempdir().expect("a directory");
    let base = workspace().join("model/tests/base");
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(&base)
        .arg(dir.path())
        .status();
    assert!(status.expect("cp runs").success());
    let fleet = dir.path().join("base");
    fs::write(fleet.join("pservers/alpha/domUs/db.toml"), "version = 1\n").expect("written");
    let (code, _, errors) = run(&fleet, &["show", "web"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("`image` is missing"), "{errors}");
}

#[test]
fn schemas_are_printed_and_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, text, _) = run(dir.path(), &["schema"]);
    let all: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (code, all.as_object().expect("an object").len()),
        (Some(0), 8)
    );
    let (_, text, _) = run(dir.path(), &["schema", "domU"]);
    let one: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(one, all["domU"]);
    let (code, text, _) = run(dir.path(), &["schema", "--output", "a/b"]);
    assert_eq!((code, text.lines().count()), (Some(0), 8));
    let host = fs::read(dir.path().join("a/b/host.schema.json")).expect("written");
    let host: Value = serde_json::from_slice(&host).expect("JSON");
    assert_eq!(host, all["host"]);
    let (code, _, errors) = run(dir.path(), &["schema", "vm"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("domus, host, domU, etc, image, trust, lock, media"),
        "{errors}"
    );
}
