// SPDX-License-Identifier: GPL-3.0-or-later
//! Secure Boot: firmware that knows the operator's keys starts what they signed and nothing else;
//! the same stick boots by BIOS, where nobody verifies it and nobody edits its menu. Then a medium
//! with two signed releases, on which a signed GRUB counts and chooses.

use domus_model::slots::{Choice, Slot};
use domus_tests::boots::Boot;
use domus_tests::disks::Partition;
use domus_tests::firmware::{Booted, Firmware, Stick, enrol};
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::grub;
use domus_tests::iso9660::{self, Image};
use domus_tests::machine::{Machine, Parts, Release, SHELL};
use domus_tests::stage::systemd;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From power-on until firmware has decided.
const DECISION: Duration = Duration::from_secs(120);
/// From power-on until systemd has started what it needs itself.
const UP: Duration = Duration::from_secs(480);

#[test]
fn firmware_starts_what_the_operator_signed_and_nothing_else() {
    let boot = Boot::new("secure");
    let medium = Medium::new(&boot);
    boot.step("an ISO by itself");
    an_altered_one_is_refused(&medium);
    refused(&boot, &medium.isos[2], &medium.variables, "unsigned");
    by_bios_it_boots_and_its_menu_cannot_be_edited(&medium);
    the_signed_one_boots(&medium);
    a_medium_counts_and_firmware_makes_sure(&boot, &medium);
}

/// Starts a stick that the firmware refuses.
fn refused(boot: &Boot, stick: &Path, variables: &Path, name: &str) {
    let firmware = Firmware::Uefi(variables);
    let mut machine = Booted::start(firmware, Stick::iso(stick), ALPHA, &[], (boot, name));
    let said = machine.console.wait_for("Access Denied", DECISION);
    assert!(!said.contains("Xen"), "{said}");
}

fn an_altered_one_is_refused(medium: &Medium<'_>) {
    let boot = medium.boot;
    let iso = boot.path().join("altered.iso");
    fs::copy(&medium.isos[0], &iso).expect("a copy");
    // In the midst of the initramfs.
    let place = Image::open(&iso).place("BOOT/EFI.IMG") + (8 << 20);
    iso9660::flip(&iso, place);
    refused(boot, &iso, &medium.variables, "altered");
}

fn by_bios_it_boots_and_its_menu_cannot_be_edited(medium: &Medium<'_>) {
    let (stick, place) = (Stick::iso(&medium.isos[0]), (medium.boot, "menu"));
    let mut machine = Booted::start(Firmware::Bios, stick, ALPHA, &[], place);
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

/// The root is what the signed initramfs says, and runs.
fn the_signed_one_boots(medium: &Medium<'_>) {
    let disk = Partition::new(medium.boot.path(), "good")
        .marker("example", "alpha", &format!("dmi-uuid = \"{ALPHA}\""))
        .repo(&medium.fleet.dir, &medium.commit)
        .disk(24);
    let firmware = Firmware::Uefi(&medium.variables);
    let (stick, place) = (Stick::iso(&medium.isos[0]), (medium.boot, "signed"));
    let mut machine = Booted::start(firmware, stick, ALPHA, &[disk], place);
    let console = &mut machine.console;
    let said = console.wait_for("domus: starting systemd", UP);
    assert!(said.contains("Xen version"), "{said}");
    assert!(said.contains("domus: boot secure-boot"), "{said}");
    console.wait_for("alpha login: ", UP);
}

/// Writing, reading back and proving a release under emulation.
const UPGRADE: Duration = Duration::from_secs(300);

/// A medium with a signed release in slot A, the ISOs of that, of another, and of one that is not
/// signed; the commit on it knows them all.
struct Medium<'b> {
    boot: &'b Boot,
    fleet: Fleet,
    commit: String,
    isos: [PathBuf; 3],
    variables: PathBuf,
    stick: PathBuf,
}

impl<'b> Medium<'b> {
    fn new(boot: &'b Boot) -> Self {
        let fleet = Fleet::new(boot.path());
        fleet.git(&["rm", "-rq", "pservers/alpha/domUs", "vservers"]);
        fleet.sign();
        fleet.domus(&["keys", "secure-boot"]).exits(0);
        let isos = [1, 2, 3].map(|version| {
            let was = format!("version     = \"{}\"", version - 1);
            let is = format!("version     = \"{version}\"");
            if version > 1 {
                fleet.change("domus.toml", &was, &is);
            }
            let unsigned = if version == 3 {
                &["--unsigned"][..]
            } else {
                &[]
            };
            let built = fleet.domus(&[&["iso", "build"], unsigned].concat());
            let built = built.exits(0);
            let is_signed = built.stdout.contains("   signed for Secure Boot   ");
            assert_eq!(is_signed, version < 3, "{built:?}");
            fleet.dir.join(format!("build/domus-example-{version}.iso"))
        });
        let commit = fleet.commit();
        let stick = boot.path().join("stick.img");
        let (iso, to) = (text(&isos[0]), text(&stick));
        let args = ["media", "build", "alpha", "--iso", &iso, "-o", &to];
        let keys = boot.path().join(".config/domus/secure-boot/example");
        a_medium_is_signed_by_the_same_key_or_not_made(&fleet, &keys, &args, &stick);
        fleet.domus(&args).exits(0);
        let variables = boot.path().join("enrolled.vars");
        enrol(&fleet.dir.join("secure-boot"), &variables);
        Self {
            boot,
            fleet,
            commit,
            isos,
            variables,
            stick,
        }
    }

    /// Starts from it by firmware that checks what it starts.
    fn start(&self, name: &str) -> Booted {
        let firmware = Firmware::Uefi(&self.variables);
        let place = (self.boot, name);
        Booted::start(firmware, Stick::medium(&self.stick), ALPHA, &[], place)
    }

    /// Release 1 as GRUB of a BIOS starts it, with the other two on disks: which is taken?
    fn upgrade(&self) {
        let [first, second, third] = &self.isos;
        let id = self.fleet.domus(&["iso", "verify", "--json", &text(first)]);
        let id = id.exits(0).json()["id"].as_str().map(str::to_owned);
        let release = Release::at(first, &id.expect("an id"), self.boot.path());
        let disks = [&self.stick, third, second].map(PathBuf::clone);
        let parts = Parts {
            arguments: &format!("domus.slot=a {SHELL}"),
            ..Parts::new(&release, ALPHA, &disks)
        };
        let mut machine = Machine::start(&parts, (self.boot.path(), "upgrade"));
        let console = &mut machine.console;
        console.wait_for("domus: starting systemd", UP);
        let uri = "export DOMUS_LIBVIRT_URI=test:///default";
        assert_eq!(systemd(console, uri).0, 0);
        console.ok("domus-dom0 health --judge");
        for (disk, code, said) in [
            (
                "/dev/vdb",
                3,
                "is not signed with the key that signed what runs",
            ),
            ("/dev/vdc", 0, "in slot b is booted next, on trial"),
        ] {
            console.send(&format!("domus-dom0 upgrade {disk}; echo up''graded-$?."));
            let shown = console.wait_for(&format!("upgraded-{code}."), UPGRADE);
            assert!(shown.contains(said), "{shown}");
        }
    }

    /// Where a partition begins, in bytes (UEFI specification 5.3.3).
    fn partition(&self, number: u64) -> u64 {
        let mut sector = [0; 8];
        let stick = fs::File::open(&self.stick).expect("a medium");
        let entry = 1024 + (number - 1) * 128;
        stick
            .read_exact_at(&mut sector, entry + 32)
            .expect("a table");
        u64::from_le_bytes(sector) * 512
    }
}

/// Without the private key, and with another certificate than that of the ISO.
fn a_medium_is_signed_by_the_same_key_or_not_made(
    fleet: &Fleet,
    keys: &Path,
    build: &[&str],
    stick: &Path,
) {
    let without = |file: &Path, why: &str| {
        let kept = fs::read(file).expect("it is there");
        match file.extension() == Some("key".as_ref()) {
            true => fs::remove_file(file),
            false => fs::write(file, b"another"),
        }
        .expect("it is another");
        fleet.domus(build).exits(3).complains(&["refused: ", why]);
        assert!(!stick.exists(), "nothing is made");
        fs::write(file, kept).expect("it is back");
    };
    let key = keys.join("db.key");
    without(
        &key,
        &format!("its private key is not at {}", key.display()),
    );
    let certificate = fleet.dir.join("secure-boot/db.cer");
    without(&certificate, "is signed for another certificate than");
}

/// Writes at a place of the stick.
fn write(stick: &Path, place: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(stick);
    let written = file.and_then(|file| file.write_all_at(bytes, place));
    written.expect("written");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn a_medium_counts_and_firmware_makes_sure(boot: &Boot, medium: &Medium<'_>) {
    let stick = &medium.stick;
    let block = || grub::block(stick).expect("a block");
    let trial = |tries| Choice {
        good: Slot::A,
        trial: Some((Slot::B, tries)),
    };
    boot.step("an upgrade");
    medium.upgrade();
    assert_eq!(block(), trial(0));

    boot.step("its first boot");
    let mut machine = medium.start("trial");
    let console = &mut machine.console;
    console.wait_for(
        "the release in slot b is on trial, boot 1 of 3 at most",
        DECISION,
    );
    let said = console.wait_for("domus: boot secure-boot", UP);
    assert!(said.contains("domus: release 2 ("), "{said}");
    console.wait_for(
        "domus: this release is on trial in slot b: boot 1 of 3 at most",
        UP,
    );
    console.wait_for("domus: starting systemd", UP);
    drop(machine);
    assert_eq!(block(), trial(1));

    boot.step("it is altered");
    let place = medium.partition(7) + (8 << 20);
    iso9660::flip(stick, place);
    let mut machine = medium.start("altered-slot");
    let console = &mut machine.console;
    let said = console.wait_for(
        "slot b has no release that this machine may start",
        DECISION,
    );
    assert!(!said.contains("Xen"), "{said}");
    let said = console.wait_for("domus: boot secure-boot", UP);
    assert!(said.contains("domus: release 1 ("), "{said}");
    console.wait_for("domus: WENT BACK from release ", UP);
    console.wait_for("domus: starting systemd", UP);
    drop(machine);
    assert_eq!(block(), Choice::only(Slot::A));

    boot.step("nothing is left");
    for number in [6, 7] {
        write(stick, medium.partition(number), &[0; 512]);
    }
    let mut machine = medium.start("empty");
    let console = &mut machine.console;
    console.wait_for("this machine starts again in 60 s", DECISION);
    // No key leads to a command line.
    console.send("\u{1b}c");
    console.read_for(Duration::from_secs(5));
    drop(machine);
    let log = fs::read(boot.path().join("empty.log")).expect("a log");
    assert!(
        !String::from_utf8_lossy(&log).contains("grub>"),
        "no prompt"
    );

    boot.step("what chooses is altered");
    let script = b"set superusers=nobody";
    let content = fs::read(stick).expect("a medium");
    let mut places = content.windows(script.len()).enumerate();
    let found = places.find(|(_, part)| part == script);
    let (place, _) = found.expect("GRUB's script");
    iso9660::flip(stick, place as u64);
    refused(boot, stick, &medium.variables, "altered-grub");
}
