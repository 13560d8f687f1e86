// SPDX-License-Identifier: GPL-3.0-or-later
//! A medium of `domus media build`, booted as the only disk of a machine, by UEFI until its domU is
//! up: its image and its volume are on the stick. What GRUB does on it is seen in boot_uefi.

use domus_tests::boots::{self, Boot};
use domus_tests::fleet::Fleet;
use serde_json::Value;

#[test]
fn one_stick_is_one_host() {
    boots::emulated("stick", boots_from_stick);
}

fn boots_from_stick(boot: &Boot) {
    let fleet = Fleet::new(boot.path());
    // One domU shows that its image and its volume are on the stick.
    fleet.git(&["rm", "-rq", "pservers/alpha/domUs/web.toml", "vservers/web"]);
    // As the only one it has a chance against the emulator, which kills those that are not paravirtualised.
    let [pv, pvh] = ["kind    = \"pv\" ", "kind    = \"pvh\""];
    fleet.change("pservers/alpha/domUs/db.toml", pv, pvh);
    let commit = fleet.commit();
    fleet.build();
    let stick = boot.path().join("stick.img").display().to_string();
    fleet
        .domus(&["media", "build", "alpha", "-o", &stick])
        .exits(0);

    let output = boot.path().display().to_string();
    let args = ["rehearse", "alpha", "--iso", &stick, "--uefi", "--json"];
    let how = [
        "--accelerator",
        "tcg",
        "--timeout",
        "900",
        "--output",
        &output,
    ];
    let report = fleet.domus(&[&args[..], &how].concat()).exits(0).json();
    assert_eq!(
        (&report["ok"], &report["firmware"]),
        (&true.into(), &"uefi".into())
    );
    assert_eq!(report["commit"], commit.as_str());
    assert_eq!(report["config_partition"], "/dev/sda5");
    let domus = report["domus"].as_array().expect("domUs");
    let states = domus.iter().map(|domu| (&domu["state"], &domu["kind"]));
    let states: Vec<(&Value, &Value)> = states.collect();
    assert_eq!(states, [(&"up".into(), &"pvh".into())]);
}
