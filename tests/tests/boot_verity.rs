// SPDX-License-Identifier: GPL-3.0-or-later
//! A root image of which a byte is not as it was built. The release's own kernel and initramfs
//! boot without Xen.

use domus_tests::boots::Boot;
use domus_tests::console::Console;
use domus_tests::disks::Partition;
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::iso9660::{self, Image};
use domus_tests::machine::{DECISION, Machine, Parts, Release};
use std::fs;
use std::path::PathBuf;

/// A root shell on the serial port, and errors of the kernel.
const SHELL: &str = "systemd.debug_shell=ttyS0 systemd.unit=debug-shell.service \
    systemd.show_status=no loglevel=4";
/// Reads every module; one that is damaged is named.
const READ: &str = "find /usr/lib/modules -name '*.ko.xz' -exec cat {} + 2>&1 >/dev/null";
const ALARM: &str = "is corrupted";

#[test]
fn a_flipped_byte_is_an_error_and_an_alarm_and_never_data() {
    let boot = Boot::new("verity");
    let fleet = Fleet::new(boot.path());
    fleet.domus(&["iso", "build", "--unsigned"]).exits(0);
    let release = Release::of(&fleet, boot.path());
    let disk = Partition::new(boot.path(), "good")
        .marker("example", "alpha", &format!("dmi-uuid = \"{ALPHA}\""))
        .repo(&fleet.dir, &fleet.git(&["rev-parse", "HEAD"]))
        .disk(24);
    let altered = |name: &str, place: &dyn Fn(&Image) -> u64| -> PathBuf {
        let path = boot.path().join(name);
        fs::copy(fleet.iso(), &path).expect("a copy");
        let place = place(&Image::open(&path));
        iso9660::flip(&path, place);
        path
    };
    let iso = altered("module.iso", &|image| image.a_module("DOMUS/ROOT.IMG"));
    let release = release.from_iso(iso);
    let place = (boot.path(), "serial");
    let parts = Parts {
        arguments: SHELL,
        ..Parts::new(&release, ALPHA, &[disk])
    };
    let mut machine = Machine::start(&parts, place);
    let console = &mut machine.console;
    console.wait_for("domus: boot unverified", DECISION);
    console.wait_for("domus: starting systemd", DECISION);
    console.wait_for("# ", DECISION);
    assert_eq!(state(console), "V", "nobody has read it");
    console.send(&format!("{READ} | sed 's/$/ <-/'; echo al''l-read"));
    let said = console.wait_for("all-read", DECISION);
    assert_eq!(said.matches(": Input/output error <-").count(), 1, "{said}");
    assert!(said.contains("device-mapper: verity: "), "{said}");
    assert!(said.contains(ALARM), "{said}");
    assert_eq!(state(console), "C");
    // What is whole is still read.
    console.ok("sha256sum /usr/bin/bash");
    drop(machine);

    // The superblock of the image: it cannot be mounted at all.
    let superblock = |image: &Image| image.place("DOMUS/ROOT.IMG") + 1024;
    let release = release.from_iso(altered("superblock.iso", &superblock));
    let place = (boot.path(), "superblock");
    let mut machine = Machine::start(&Parts::new(&release, ALPHA, &[]), place);
    let said = machine.console.wait_for("domus rescue# ", DECISION);
    assert!(said.contains(ALARM), "{said}");
    let line = "domus: the root image on /dev/sr0 is not the one that this release was built with";
    assert!(said.contains(line), "{said}");
    let record = machine.console.ok("cat /run/domus/boot.json");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["root"], "corrupted");
    assert_eq!(record["verified"], "unverified");
    // Another medium may be in the drive by the next try: nothing of this one stays.
    let left = "cat /proc/mounts | grep medium; ls /dev | grep '^dm-'; grep . /sys/block/loop*/loop/backing_file 2>/dev/null";
    assert_eq!(machine.console.run(left).1, "");
}

/// What the kernel says of the root: one letter.
fn state(console: &mut Console) -> String {
    let said = console.ok("dmsetup status domus-root");
    said.split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned()
}
