// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 storage` of a host whose disks are not there: what is done with disks that are is seen
//! in real boots (`tests/tests/boot_storage.rs`).

mod common;

use std::os::unix::fs::symlink;

use common::Host;
use serde_json::{Value, json};

#[test]
fn a_disk_that_is_not_there_is_said_and_kept_in_the_record() {
    let host = Host::new(
        &[],
        "[storage]\ndisks = [\"none-of-this-name\"]\nvar = \"1GiB\"\n",
    );
    let status = host.run(&["status", "--json"]).json();
    assert_eq!(status["storage"]["standing"], "waiting");
    let ran = host.run(&["storage"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let line = "storage waiting; none-of-this-name is not there; /var is in RAM";
    assert_eq!(ran.stdout, format!("domus: {line}\n"));
    let record = std::fs::read(host.at("run/domus/boot.json")).expect("a record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    assert_eq!(record["name"], "alpha", "the rest stays");
    let reasons = json!(["none-of-this-name is not there"]);
    assert_eq!(record["storage"]["reasons"], reasons);
    let status = host.run(&["status"]);
    assert!(
        status.stdout.contains(&format!("alpha: {line}\n")),
        "{status:?}"
    );
}

#[test]
fn nothing_is_done_where_no_disk_is_named() {
    let host = Host::new(&[], "");
    let ran = host.run(&["storage"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        host.run(&["status", "--json"]).json()["storage"],
        Value::Null
    );
}

#[test]
fn status_says_how_a_mirror_is_now_and_not_how_it_was() {
    let storage = "[storage]\ndisks = [\"ata-one\", \"ata-two\"]\nmirror = true\n";
    let host = Host::new(&[], storage);
    let record = std::fs::read(host.at("run/domus/boot.json")).expect("a record");
    let mut record: Value = serde_json::from_slice(&record).expect("JSON");
    record["storage"] = json!({
        "standing": "degraded", "reasons": ["ata-two is not there"], "half": "ata-two is not there",
        "holds": ["swap", "volume group vg0"], "remarks": [],
    });
    host.write("run/domus/boot.json", &record.to_string());
    let line = || {
        let status = host.run(&["status"]);
        assert_eq!(status.code, 0, "{status:?}");
        let mut lines = status.stdout.lines();
        let line = lines.find_map(|line| line.strip_prefix("alpha: storage "));
        line.expect("a line").to_owned()
    };
    let holds = "swap, volume group vg0";
    assert_eq!(
        line(),
        format!("refused: {holds}; ata-two is not there; the mirror does not run")
    );
    let json = host.run(&["status", "--json"]).json();
    assert_eq!(json["storage"].get("half"), None, "{json:#}");

    let link = |to: &str, path: &str| {
        let path = host.at(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        symlink(to, path).expect("a link");
    };
    let md = |name: &str, text: &str| {
        host.write(&format!("sys/class/block/md127/md/{name}"), text);
    };
    host.write("dev/md127", "");
    link("../md127", "dev/md/domus");
    for (name, disk) in [("ata-one", "sda"), ("ata-two", "sdb")] {
        host.write(&format!("dev/{disk}"), "");
        link(&format!("../../{disk}"), &format!("dev/disk/by-id/{name}"));
        host.write(&format!("sys/devices/{disk}/{disk}1/partition"), "1\n");
        let to = format!("../../devices/{disk}/{disk}1");
        link(&to, &format!("sys/class/block/{disk}1"));
    }
    md("degraded", "1\n");
    md("sync_action", "recover\n");
    md("sync_completed", "37 / 100\n");
    md("dev-sda1/state", "in_sync\n");
    md("dev-sdb1/state", "spare\n");
    let degraded = format!("degraded: {holds}; mirror degraded, ");
    assert_eq!(line(), format!("{degraded}ata-two is behind, recover 37%"));
    let json = host.run(&["status", "--json"]).json();
    let expected = json!({
        "whole": false,
        "halves": [
            {"disk": "ata-one", "state": "in-sync"}, {"disk": "ata-two", "state": "behind"},
        ],
        "doing": {"what": "recover", "percent": 37},
    });
    assert_eq!(json["storage"]["mirror"], expected);

    md("degraded", "0\n");
    md("sync_action", "idle\n");
    md("dev-sdb1/state", "in_sync\n");
    assert_eq!(line(), format!("ok: {holds}; mirror whole"));

    md("degraded", "1\n");
    md("dev-sdb1/state", "faulty\n");
    let failed = line();
    let says = format!("{degraded}ata-two has FAILED; ");
    assert!(failed.starts_with(&says), "{failed}");
}
