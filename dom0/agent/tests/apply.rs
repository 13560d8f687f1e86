// SPDX-License-Identifier: GPL-3.0-or-later
//! `apply`, `start` and `stop` as far as libvirt's test driver goes, which takes the XML of Xen
//! domains and runs nothing. That a domU comes up is seen in real boots.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Host, uuid};
use serde_json::{Value, json};

const DISK: &str = "[[disk]]\nname = \"data\"\nsize = \"8MiB\"\nmount = \"/srv\"\n";

fn root_only() {
    assert!(
        rustix::process::geteuid().is_root(),
        "loop devices need root: run the tests so"
    );
}

/// Every file below `dir` and its content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("list") {
        let entry = entry.expect("entry");
        let kind = entry.file_type().expect("type");
        if kind.is_dir() {
            found.extend(tree(&entry.path()));
        } else if kind.is_file() {
            found.insert(entry.path(), fs::read(entry.path()).expect("read"));
        }
    }
    found
}

#[test]
fn what_is_missing_is_started_and_then_nothing_changes() {
    root_only();
    let pv = format!("kind = \"pv\"\n{DISK}");
    let host = Host::new(
        &[("db", &pv), ("test", ""), ("web", "after = [\"db\"]\n")],
        "",
    );
    host.give_image();
    host.is_up(2);
    let first = host.run(&["apply"]);
    let expected = "\
alpha   commit 8c1d02e
  db      started as domain 2
  web     started as domain 3
  test    runs
";
    assert_eq!(
        (first.code, first.stdout.as_str()),
        (0, expected),
        "{first:?}"
    );
    let mut loops = host.loops();
    loops.sort();
    let expected = [
        "config/images/base@1/root.img",
        "config/volumes/db.data.img",
        "run/domus/domus/db/config.tar",
        "run/domus/domus/web/config.tar",
    ];
    assert_eq!(
        loops,
        expected.map(|path| host.at(path)),
        "the image is shared"
    );

    host.runs(&["test", "db", "web"]);
    host.uses_loops(2);
    let before = tree(host.root());
    let second = host.run(&["apply"]);
    let expected = "alpha   commit 8c1d02e\n  db      runs\n  test    runs\n  web     runs\n";
    assert_eq!((second.code, second.stdout.as_str()), (0, expected));
    assert!(tree(host.root()) == before, "no file has changed");
    assert_eq!(host.loops().len(), loops.len());
}

#[test]
fn one_that_cannot_start_does_not_hold_up_others_and_says_why() {
    root_only();
    let other = "version = 1\nrevision = 1\n";
    let host = Host::new(
        &[("db", DISK), ("mail", ""), ("web", "after = [\"db\"]\n")],
        "",
    );
    host.give_image();
    host.write("run/domus/slice/images/other.toml", other);
    let mail = "version = 1\nimage = \"other@1\"\n";
    host.write("run/domus/slice/pservers/alpha/domUs/mail.toml", mail);
    // libvirt refuses `db`: its UUID is taken.
    host.runs_as(&[("squatter", uuid("db"))]);
    let applied = host.run(&["apply", "--json"]);
    assert_eq!(applied.code, 1, "{applied:?}");
    let applied = applied.json();
    assert_eq!(applied["started"], json!([{"name": "web", "id": 2}]));
    let status = host.run(&["status", "--json"]).json();
    for (index, name, begin) in [
        (0, "db", "creating the domain: libvirt: "),
        (
            1,
            "mail",
            "image other@1 is not on this host (copy what `domus image build other`",
        ),
    ] {
        let domu = &status["domus"][index];
        assert_eq!(
            (&domu["name"], &domu["state"]),
            (&json!(name), &json!("failed"))
        );
        let reason = domu["reason"].as_str().expect("reason");
        assert!(reason.starts_with(begin), "{reason}");
        let failed = &applied["failed"][index];
        let begin = failed["reason"].as_str().expect("reason");
        assert_eq!(failed["name"], name);
        let begin = format!("{begin}; tried again in ");
        assert!(reason.starts_with(&begin), "{reason}");
    }
    let volume = host.at("config/volumes/db.data.img");
    assert_eq!(fs::metadata(&volume).expect("volume").len(), 8 << 20);

    host.runs(&["web"]);
    host.uses_loops(1);
    assert_eq!(host.run(&["start", "db"]).code, 0);
    host.runs(&["web", "db"]);
    let status = host.run(&["status", "--json"]).json();
    let db = &status["domus"][0];
    assert_eq!(
        (&db["state"], &db["reason"]),
        (&"starting".into(), &Value::Null)
    );
}

#[test]
fn only_the_image_that_the_commit_means_is_started() {
    root_only();
    let host = Host::new(&[("db", ""), ("web", "")], "");
    host.give_image();
    let manifest = host.at("config/images/base@1/manifest.json");
    let right = domus_system::digest::of_file(&manifest).expect("a digest");
    let lock = |digest: &str| {
        let text = format!("version = 1\n[images]\n\"base@1\" = \"sha256:{digest}\"\n");
        host.write("run/domus/slice/domus.lock", &text);
    };
    let wrong = "0".repeat(64);
    lock(&wrong);
    let refused = host.run(&["apply"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["image base@1 on this host is another", &right, &wrong] {
        assert!(refused.stdout.contains(part), "{refused:?}");
    }
    assert_eq!(host.loops(), Vec::<PathBuf>::new());
    lock(&right);
    assert_eq!(host.run(&["apply"]).code, 0);
    let noted = fs::read_to_string(host.at("run/domus/images/base@1")).expect("a note");
    assert_eq!(noted.lines().count(), 3, "each file was read once: {noted}");
}

#[test]
fn a_failed_attempt_leaves_no_loop_device() {
    root_only();
    let host = Host::new(&[("db", DISK)], "");
    host.give_image();
    host.runs_as(&[("squatter", uuid("db"))]);
    assert_eq!(host.run(&["apply"]).code, 1);
    assert_eq!(host.loops(), Vec::<PathBuf>::new());
    let tree = || {
        let mut tree = tree(host.root());
        assert!(
            tree.remove(&host.at("run/domus/domus/db/record.json"))
                .is_some()
        );
        tree
    };
    let before = tree();
    assert_eq!(host.run(&["apply"]).code, 1);
    assert!(
        tree() == before,
        "the same attempt leaves the same files, and is counted"
    );
}

#[test]
fn apply_changes_nothing_where_everything_runs() {
    let host = Host::new(&[("test", "")], "");
    host.failed("test", "of an earlier attempt");
    let first = host.run(&["apply"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(first.stdout, "alpha   commit 8c1d02e\n  test    runs\n");
    let before = tree(host.root());
    let record = &before[&host.at("run/domus/domus/test/record.json")];
    assert!(!String::from_utf8_lossy(record).contains("earlier"));
    assert_eq!(host.run(&["apply"]).stdout, first.stdout);
    assert!(tree(host.root()) == before);
}

#[test]
fn loop_devices_of_domus_that_do_not_run_are_released() {
    root_only();
    let host = Host::new(&[("test", "")], "");
    host.give_image();
    host.write("run/domus/domus/web/config.tar", &"x".repeat(4096));
    let attach = |path: &str| domus_system::loopdev::attach(&host.at(path), true).expect("attach");
    let image = attach("config/images/base@1/root.img");
    attach("run/domus/domus/web/config.tar");
    host.store.set(
        "/local/domain/0/backend/vbd/1/51712/params",
        &image.to_string_lossy(),
    );
    assert_eq!(host.run(&["apply"]).code, 0);
    assert_eq!(
        host.loops(),
        [host.at("config/images/base@1/root.img")],
        "a domain has this one"
    );
    host.store
        .set("/local/domain/0/backend/vbd/1/51712/params", "");
    assert_eq!(host.run(&["apply"]).code, 0);
    assert_eq!(host.loops(), Vec::<PathBuf>::new());
}

#[test]
fn one_that_was_stopped_stays_so_until_it_is_started() {
    let host = Host::new(&[("test", ""), ("web", "after = [\"test\"]\n")], "");
    let stop = host.run(&["stop", "--all", "--timeout", "5"]);
    assert_eq!(
        (stop.code, stop.stdout.as_str()),
        (0, "web   did not run\ntest   stopped\n")
    );
    let apply = host.run(&["apply"]);
    // The test driver has forgotten that `test` was stopped.
    assert_eq!(apply.code, 0, "{apply:?}");
    let line = "  web     stopped by hand; `domus-dom0 start web` starts it\n";
    assert!(apply.stdout.ends_with(line), "{apply:?}");
    let start = host.run(&["start", "web"]);
    assert_eq!(start.code, 1, "it has no image: {start:?}");
    assert!(
        start.stdout.contains("  web     FAILED: image base@1"),
        "{start:?}"
    );
    assert!(!host.at("run/domus/domus/web/held").exists());
    assert_eq!(host.run(&["plan"]).code, 2);
}

#[test]
fn one_that_ends_by_itself_is_started_again() {
    root_only();
    let host = Host::new(&[("web", "")], "");
    host.give_image();
    assert_eq!(host.run(&["apply"]).code, 0);
    let web = || host.run(&["status", "--json"]).json()["domus"][0].clone();
    host.runs(&["test", "web"]);
    assert_eq!(web()["state"], "starting");
    host.runs(&["test"]);
    assert_eq!(web()["state"], "pending");
    let reason = "it ended by itself: it crashed, or was shut down from inside; \
                  tried again in 5 s";
    assert_eq!(web()["reason"], reason);
    let apply = host.run(&["apply"]);
    assert!(
        apply.stdout.contains("  web     started as domain"),
        "{apply:?}"
    );
    assert_eq!(host.run(&["stop", "web"]).code, 0);
    assert_eq!(web()["state"], "stopped", "that was an operator");
}

#[test]
fn a_domain_that_nobody_declared_is_left_alone() {
    let host = Host::new(&[("web", "")], "");
    let stray = host.run(&["stop", "test"]);
    assert_eq!(stray.code, 3, "{stray:?}");
    assert!(
        stray
            .stderr
            .contains("test runs here and nobody declared it"),
        "{stray:?}"
    );
    // Unless the host goes down.
    let all = host.run(&["stop", "--all"]);
    assert_eq!((all.code, all.stdout.as_str()), (0, "web   did not run\n"));
    let down = host.run(&["stop", "--all", "--strays"]);
    let both = "test   stopped\nweb   did not run\n";
    assert_eq!((down.code, down.stdout.as_str()), (0, both));
    let unknown = host.run(&["stop", "mail"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert_eq!(
        unknown.stderr,
        "domus-dom0: there is no domU mail on alpha; there are: web\n"
    );
    assert_eq!(host.run(&["start", "mail"]).code, 1);
}

#[test]
fn a_domain_that_libvirt_has_lost_is_not_made_again() {
    let host = Host::new(&[("web", "")], "");
    host.give_image();
    host.store.set("/local/domain/7/name", "web");
    let apply = host.run(&["apply"]);
    assert_eq!(apply.code, 1, "{apply:?}");
    assert!(
        apply.stdout.contains("the domain 7 has its name"),
        "{apply:?}"
    );
    assert!(apply.stdout.contains("`xl destroy 7`"), "{apply:?}");
}
