// SPDX-License-Identifier: GPL-3.0-or-later
//! `upgrade` and `rollback --release` where there are no slots. With slots: tests/tests/boot_slots.rs.

mod common;

use common::Host;
use serde_json::{Value, json};

/// Changes the record of the boot.
fn booted(host: &Host, change: impl FnOnce(&mut Value)) {
    let path = "run/domus/boot.json";
    let text = std::fs::read(host.at(path)).expect("a record");
    let mut record = serde_json::from_slice(&text).expect("JSON");
    change(&mut record);
    host.write(path, &record.to_string());
}

fn refused(host: &Host, why: &str) {
    for arguments in [&["upgrade", "/no/such.iso"][..], &["rollback", "--release"]] {
        let ran = host.run(arguments);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.stderr.contains(why), "{ran:?}");
        assert!(ran.stderr.contains("`domus media build alpha`"), "{ran:?}");
    }
}

#[test]
fn a_host_without_slots_is_not_upgraded() {
    let host = Host::new(&[], "");
    refused(&host, "not take its release from a slot, but from a CD");
    assert_eq!(host.run(&["status", "--json"]).json()["slots"], Value::Null);
    booted(&host, |record| record["verified"] = json!("secure-boot"));
    refused(&host, "its firmware started a signed release by itself");
}

#[test]
fn a_slot_that_is_not_there_is_said() {
    let host = Host::new(&[], "");
    booted(&host, |record| {
        record["slot"] = json!({"slot": "b", "attempt": 2});
        record["medium"] = json!("/dev/no-such1");
    });
    refused(&host, "/dev/no-such1 is not slot b");
    let status = host.run(&["status"]);
    let said = "alpha: which release boots next is not known: this host has no slots";
    assert!(status.stdout.contains(said), "{status:?}");
    assert!(
        status.stdout.contains("clock not synchronised   slot b"),
        "{status:?}"
    );
    let one = host.run(&["rollback", "--release", "2"]);
    assert_eq!(one.code, 1, "{one:?}");
}
