// SPDX-License-Identifier: GPL-3.0-or-later
//! `upgrade` and `rollback --release`: where there are no slots, and what is refused where there
//! are. Real media: tests/tests/boot_slots.rs and boot_secure.rs.

mod common;
mod medium;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;

use common::Host;
use domus_model::slots::{Choice, Slot};
use medium::{STARTED, choice, node, release};
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

/// The certificates of this fleet and of another.
const OWN: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";
const OTHERS: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// A host that runs release 7 from slot A of a medium of signed releases.
fn on_medium() -> Host {
    let host = Host::new(&[], "");
    medium::insert(&host);
    let id = release(&node(&host, "vda3"), "7", Some(OWN));
    booted(&host, |record| {
        record["slot"] = json!({"slot": "a"});
        record["medium"] = json!("/dev/vda3");
        record["release_id"] = json!(id);
        record["release"]["secure_boot"] = json!(OWN);
    });
    host
}

#[test]
fn a_release_whose_boot_partition_is_damaged_is_not_booted() {
    let host = on_medium();
    let id = release(&node(&host, "vda4"), "6", Some(OWN));
    let releases = json!({"good": [id], "left": []});
    host.write("config/state/releases.json", &releases.to_string());
    let boot = node(&host, "vda7");
    let roll_back = || host.run(&["rollback", "--release"]);

    // Empty, as long as it should be and altered, and cut off.
    let mut altered = STARTED.to_vec();
    altered[9] ^= 1;
    for content in [&[][..], &altered, &STARTED[1..]] {
        fs::write(&boot, content).expect("written");
        let ran = roll_back();
        assert_eq!(ran.code, 1, "{ran:?}");
        let said = format!(
            "{} does not have what firmware starts of that release: `domus-dom0 upgrade` writes it again",
            boot.display()
        );
        assert!(ran.stderr.contains(&said), "{ran:?}");
        assert_eq!(choice(&host), Choice::only(Slot::A));
    }
    fs::remove_file(&boot).expect("it goes");
    let ran = roll_back();
    assert_eq!(ran.code, 1, "{ran:?}");
    let said = format!("reading {}", boot.display());
    assert!(ran.stderr.contains(&said), "{ran:?}");
    assert_eq!(choice(&host), Choice::only(Slot::A));

    // A partition is longer than what is on it.
    fs::write(&boot, [STARTED, b"what was there before"].concat()).expect("written");
    let ran = roll_back();
    assert_eq!(ran.code, 0, "{ran:?}");
    let said = format!("alpha   release 6 ({}) in slot b is booted next", &id[..12]);
    assert!(ran.stdout.contains(&said), "{ran:?}");
    assert_eq!(choice(&host), Choice::only(Slot::B));
}

#[test]
fn a_damaged_release_is_not_gone_back_to() {
    let host = on_medium();
    let slot = node(&host, "vda4");
    let id = release(&slot, "6", Some(OWN));
    fs::write(node(&host, "vda7"), STARTED).expect("written");
    let roll_back = || host.run(&["rollback", "--release"]);
    let ran = roll_back();
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("was never healthy here"), "{ran:?}");
    let releases = json!({"good": [id], "left": []});
    host.write("config/state/releases.json", &releases.to_string());
    let mut content = fs::read(&slot).expect("a slot");
    *content.last_mut().expect("a byte") ^= 1;
    fs::write(&slot, content).expect("written");
    let ran = roll_back();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("vda4 is damaged"), "{ran:?}");
    assert_eq!(choice(&host), Choice::only(Slot::A));
}

/// Answers once with the file, to nobody or to one who takes all of it or hangs up.
fn serve(file: &Path) -> String {
    let body = fs::read(file).expect("a file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody");
        let lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
        let request = lines.map_while(Result::ok);
        let _ = request.take_while(|line| !line.is_empty()).count();
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body);
    });
    format!("http://{address}/domus.iso")
}

#[test]
fn what_the_medium_does_not_start_is_refused_before_anything_is_written() {
    let host = on_medium();
    let old = release(&node(&host, "vda4"), "6", Some(OWN));
    fs::write(node(&host, "vda7"), STARTED).expect("written");
    let on_trial = Choice {
        good: Slot::A,
        trial: Some((Slot::B, 0)),
    };
    medium::write_block(&host, &on_trial);
    let parts = || {
        ["vda2", "vda3", "vda4", "vda6", "vda7"]
            .map(|name| fs::read(node(&host, name)).expect("it"))
    };
    let before = parts();
    for (version, certificate) in [("8", Some(OTHERS)), ("9", None)] {
        let file = host.at(&format!("{version}.iso"));
        assert_ne!(release(&file, version, certificate), old);
        for from in [file.display().to_string(), serve(&file)] {
            let ran = host.run(&["upgrade", &from]);
            assert_eq!(ran.code, 3, "{ran:?}");
            let said = format!("{from} is not signed with the key that signed what runs");
            assert!(ran.stderr.contains(&said), "{ran:?}");
            assert!(parts() == before, "{from}: something was written");
        }
    }
    // What lies about itself is damaged: here it is read first.
    let file = host.at("liar.iso");
    release(&file, "10", Some(OTHERS));
    let mut content = fs::read(&file).expect("an ISO");
    content[0x8000 + 318..0x8000 + 318 + OWN.len()].copy_from_slice(OWN.to_uppercase().as_bytes());
    fs::write(&file, content).expect("written");
    domus_system::iso::seal::seal(&file).expect("sealed");
    let ran = host.run(&["upgrade", &file.display().to_string()]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("it says that it is signed for 0A1B2C"),
        "{ran:?}"
    );
    assert!(parts() == before, "something was written");
}
