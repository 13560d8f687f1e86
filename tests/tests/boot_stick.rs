// SPDX-License-Identifier: GPL-3.0-or-later
//! A medium of `domus media build`, booted as the only disk of a machine: by UEFI until its domU
//! is up, by BIOS until Xen runs, which is GRUB's part of it.

use domus_tests::boots::{self, Boot};
use domus_tests::fleet::Fleet;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn one_stick_is_one_host() {
    boots::emulated("stick", boots_from_stick);
}

fn boots_from_stick(boot: &Boot) {
    let fleet = Fleet::new(boot.path());
    // One domU shows that its image and its volume are on the stick.
    fleet.git(&["rm", "-rq", "pservers/alpha/domUs/web.toml", "vservers/web"]);
    let commit = fleet.commit();
    fleet.build();
    let stick = boot.path().join("stick.img").display().to_string();
    fleet
        .domus(&["media", "build", "alpha", "-o", &stick])
        .exits(0);
    a_bios_reaches_xen(Path::new(&stick), boot.path());

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
    let states = report["domus"].as_array().expect("domUs");
    let states: Vec<&Value> = states.iter().map(|domu| &domu["state"]).collect();
    assert_eq!(states, ["up"]);
}

/// A machine that is switched off when this value is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_bios_reaches_xen(stick: &Path, dir: &Path) {
    let log = dir.join("bios.log");
    let drive = format!(
        "if=none,id=s,format=raw,snapshot=on,file={}",
        stick.display()
    );
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args([
            "-machine",
            "pc",
            "-accel",
            "tcg",
            "-m",
            "1024",
            "-cpu",
            "qemu64,+svm,+npt,-cx16",
        ])
        .args(["-drive", &drive, "-device", "qemu-xhci"])
        .args(["-device", "usb-storage,drive=s,bootindex=0,removable=on"])
        .args(["-serial", &format!("file:{}", log.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(dir.join("bios.qemu.log")).expect("a log"));
    let _machine = Machine(command.spawn().expect("QEMU starts"));
    let begin = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        if text.contains("(XEN) Xen version ") && text.contains("domus.release=") {
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(180),
            "no Xen:\n{text}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
