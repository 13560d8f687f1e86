// SPDX-License-Identifier: GPL-3.0-or-later
//! Secure Boot: firmware that knows the operator's keys starts what they signed and nothing else;
//! the same stick boots by BIOS, where nobody verifies it and nobody edits its menu.

use domus_tests::boots::Boot;
use domus_tests::disks::Partition;
use domus_tests::firmware::{Booted, Firmware, enrol};
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::iso9660::{self, Image};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From power-on until firmware has decided.
const DECISION: Duration = Duration::from_secs(120);
/// From power-on until systemd has started what it needs itself.
const UP: Duration = Duration::from_secs(480);

#[test]
fn firmware_starts_what_the_operator_signed_and_nothing_else() {
    let boot = Boot::new("secure");
    let fleet = Fleet::new(boot.path());
    fleet.sign();
    fleet.domus(&["keys", "secure-boot"]).exits(0);
    let commit = fleet.commit();
    let built = fleet.domus(&["iso", "build"]).exits(0);
    assert!(
        built.stdout.contains("   signed for Secure Boot   "),
        "{built:?}"
    );
    let variables = boot.path().join("enrolled.vars");
    enrol(&fleet.dir.join("secure-boot"), &variables);

    an_altered_one_is_refused(&boot, &fleet, &variables);
    an_unsigned_one_is_refused(&boot, &fleet, &variables);
    by_bios_it_boots_and_its_menu_cannot_be_edited(&boot, &fleet);
    let disk = Partition::new(boot.path(), "good")
        .marker("example", "alpha", &format!("dmi-uuid = \"{ALPHA}\""))
        .repo(&fleet.dir, &commit)
        .disk(24);
    the_signed_one_boots(&boot, &fleet, &variables, disk);
}

/// Starts a stick that the firmware refuses.
fn refused(boot: &Boot, iso: &Path, variables: &Path, name: &str) {
    let firmware = Firmware::Uefi(variables);
    let mut machine = Booted::start(firmware, iso, ALPHA, &[], (boot, name));
    let said = machine.console.wait_for("Access Denied", DECISION);
    assert!(!said.contains("Xen"), "{said}");
}

fn an_altered_one_is_refused(boot: &Boot, fleet: &Fleet, variables: &Path) {
    let iso = boot.path().join("altered.iso");
    fs::copy(fleet.iso(), &iso).expect("a copy");
    // In the midst of the initramfs.
    let place = Image::open(&iso).place("BOOT/EFI.IMG") + (8 << 20);
    iso9660::flip(&iso, place);
    refused(boot, &iso, variables, "altered");
}

fn an_unsigned_one_is_refused(boot: &Boot, fleet: &Fleet, variables: &Path) {
    let iso = boot.path().join("unsigned.iso");
    let to = iso.display().to_string();
    fleet.change("domus.toml", "version     = \"1\"", "version     = \"2\"");
    fleet
        .domus(&["iso", "build", "--unsigned", "--output", &to])
        .exits(0);
    refused(boot, &iso, variables, "unsigned");
}

fn by_bios_it_boots_and_its_menu_cannot_be_edited(boot: &Boot, fleet: &Fleet) {
    let mut machine = Booted::start(Firmware::Bios, &fleet.iso(), ALPHA, &[], (boot, "menu"));
    let console = &mut machine.console;
    console.wait_for("fleet example", DECISION);
    console.send("e");
    console.wait_for("Enter username", DECISION);
    console.send("nobody");
    console.wait_for("Enter password", DECISION);
    console.send("");
    // And boots what it is there for, from inside the signed image.
    console.wait_for("fleet example", DECISION);
    console.send("");
    let said = console.wait_for("domus: boot unverified", UP);
    assert!(said.contains("Xen version"), "{said}");
    console.wait_for("domus: no config partition for this machine", UP);
}

fn the_signed_one_boots(boot: &Boot, fleet: &Fleet, variables: &Path, disk: PathBuf) {
    let firmware = Firmware::Uefi(variables);
    let place = (boot, "signed");
    let mut machine = Booted::start(firmware, &fleet.iso(), ALPHA, &[disk], place);
    let console = &mut machine.console;
    let said = console.wait_for("domus: starting systemd", UP);
    assert!(said.contains("Xen version"), "{said}");
    assert!(said.contains("domus: boot secure-boot"), "{said}");
    // The root is what the signed initramfs says, and runs.
    console.wait_for("alpha login: ", UP);
}
