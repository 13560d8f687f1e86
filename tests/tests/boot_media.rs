// SPDX-License-Identifier: GPL-3.0-or-later
//! The two ways in that the other boots do not take: BIOS from a USB stick, UEFI from a CD. The
//! host has no domUs, so its boot is over as soon as its agent speaks.

use domus_tests::boots::Boot;
use domus_tests::fleet::Fleet;
use serde_json::{Value, json};

#[test]
fn bios_from_usb() {
    boots_from("bios-usb", "bios", &["--medium", "usb"]);
}

#[test]
fn uefi_from_cd() {
    boots_from("uefi-cd", "uefi", &["--uefi", "--medium", "cd"]);
}

fn boots_from(name: &str, firmware: &str, arguments: &[&str]) {
    let boot = Boot::new(name);
    let fleet = Fleet::new(boot.path());
    fleet.git(&["rm", "-rq", "pservers/alpha/domUs", "vservers"]);
    let commit = fleet.commit();
    fleet.domus(&["check"]).exits(0);
    fleet.build();
    let output = boot.path().display().to_string();
    let common = ["rehearse", "alpha", "--json", "--accelerator", "tcg"];
    let place = ["--timeout", "240", "--output", &output];
    let ran = fleet.domus(&[&common[..], &place, arguments].concat());
    let report = ran.exits(0).json();
    assert_eq!(report["firmware"], firmware);
    assert_eq!(
        (&report["ok"], &report["commit"], &report["domus"]),
        (&true.into(), &commit.into(), &json!([]))
    );
    let timeline = report["timeline"].as_array().expect("a timeline");
    let happened: Vec<&Value> = timeline.iter().map(|event| &event["event"]).collect();
    let expected = [
        "power-on",
        "xen",
        "dom0-kernel",
        "config-mounted",
        "etc-composed",
        "systemd",
    ];
    assert_eq!(happened, expected);
}
