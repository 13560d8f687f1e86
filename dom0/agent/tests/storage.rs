// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 storage` of a host whose disks are not there: what is done with disks that are is seen
//! in real boots (`tests/tests/boot_storage.rs`).

mod common;

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
