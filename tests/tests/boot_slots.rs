// SPDX-License-Identifier: GPL-3.0-or-later
//! Two releases on one medium: GRUB chooses and counts, dom0 judges, `upgrade` fills the other
//! slot. GRUB runs until it has started Xen; what dom0 does with its choice is seen in boots of
//! the release's own kernel, which say what GRUB would have said.

use domus_model::slots::{Choice, Slot};
use domus_tests::console::Console;
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::grub::{self, BIOS, How};
use domus_tests::iso9660::Image;
use domus_tests::machine::{DECISION, Machine, Parts, Release, SHELL};
use domus_tests::stage::{Stage, systemd};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The deadline below, what the guard adds to it, and a shutdown of which systemd makes no end.
const GIVEN_UP: Duration = Duration::from_secs(300);
/// Writing, reading back and proving a release under emulation.
const UPGRADE: Duration = Duration::from_secs(300);
const SLOT_A: u64 = 66 << 20;

/// Start of the second slot, in bytes (UEFI specification 5.3.3).
fn slot_b(stick: &Path) -> u64 {
    let mut sector = [0; 8];
    let file = fs::File::open(stick).expect("a medium");
    file.read_exact_at(&mut sector, 1024 + 3 * 128 + 32)
        .expect("a table");
    u64::from_le_bytes(sector) * 512
}

fn write(stick: &Path, place: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(stick);
    file.and_then(|file| file.write_all_at(bytes, place))
        .expect("written");
}

/// A fleet whose host alpha has no domUs and ten seconds to get healthy.
fn change(fleet: &Fleet) {
    fleet.git(&["rm", "-rq", "pservers/alpha/domUs", "vservers"]);
    fleet.change(
        "pservers/alpha/host.toml",
        "[machine]",
        "[health]\ndeadline = \"10s\"\n\n[machine]",
    );
}

/// A medium with the release of `iso`.
fn medium(stage: &Stage, iso: &Path) -> PathBuf {
    stage.fleet.commit();
    let stick = stage.dir().join("stick.img");
    let (iso, to) = (iso.display().to_string(), stick.display().to_string());
    let args = ["media", "build", "alpha", "--iso", &iso, "-o", &to];
    stage.fleet.domus(&args).exits(0);
    stick
}

/// Menus that only say what they were told are in place of both releases.
#[test]
fn grub_chooses_and_counts() {
    let stage = Stage::with("slots-grub", change);
    let iso = stage.fleet.iso();
    let stick = medium(&stage, &iso);
    let slot_b = slot_b(&stick);
    write(&stick, slot_b, &fs::read(&iso).expect("an ISO"));
    let found = Image::open(&iso).extents();
    let menu = found.iter().find(|file| file.path == "BOOT/GRUB.CFG");
    let menu = menu.expect("a menu");
    for (slot, name) in [(SLOT_A, 'a'), (slot_b, 'b')] {
        let mut text =
            format!("echo \"IN {name}: $domus_slot $domus_try.\"\nsleep 1\nreboot\n").into_bytes();
        text.resize(usize::try_from(menu.size).expect("a size"), b'\n');
        write(&stick, slot + menu.start, &text);
    }
    let mut number = 0;
    let mut boots = |how: How, texts: &[&str]| {
        number += 1;
        let name = format!("boot-{number}");
        grub::says(&stick, (stage.dir(), &name), how, texts)
    };
    let tried = |tries| Choice {
        good: Slot::A,
        trial: Some((Slot::B, tries)),
    };
    let is = |choice| assert_eq!(grub::block(&stick), Ok(choice));

    boots(BIOS, &["IN a: domus.slot=a ."]);
    is(Choice::only(Slot::A));
    grub::set_block(&stick, &tried(0).render());
    for (how, attempt) in [(BIOS, 1), (BIOS, 2), (How { uefi: true, ..BIOS }, 3)] {
        let line = format!("IN b: domus.slot=b domus.try={attempt}.");
        boots(how, &[&line]);
        is(tried(attempt));
    }
    boots(BIOS, &["IN a: domus.slot=a ."]);
    is(tried(3));
    grub::set_block(&stick, &Choice::only(Slot::B).render());
    boots(How { uefi: true, ..BIOS }, &["IN b: domus.slot=b ."]);

    // What cannot be counted is not tried.
    grub::set_block(&stick, &tried(0).render());
    let protected = How {
        protected: true,
        ..BIOS
    };
    let refused = "a boot of the release on trial cannot be counted, so it is not tried";
    boots(protected, &[refused, "IN a: domus.slot=a ."]);
    is(tried(0));

    // A slot with nothing in it.
    write(&stick, slot_b, &vec![0; 1 << 20]);
    let empty = "slot b has no release that can be booted";
    boots(BIOS, &[empty, "IN a: domus.slot=a ."]);
    is(tried(1));

    // A block that says nothing.
    let mut damaged = Choice::only(Slot::B).render();
    damaged[26..200].fill(0);
    grub::set_block(&stick, &damaged);
    boots(BIOS, &["IN a: domus.slot=a ."]);
    damaged[..].fill(b'x');
    grub::set_block(&stick, &damaged);
    let unread = "the block that says which release is good cannot be read";
    boots(BIOS, &[unread, "IN a: domus.slot=a ."]);
}

#[test]
fn a_medium_shows_its_boot_where_its_machine_does() {
    let stage = Stage::with("slots-console", |fleet| {
        change(fleet);
        let console = "[machine]\nconsole = \"com2,57600\"";
        fleet.change("pservers/alpha/host.toml", "[machine]", console);
    });
    let stick = medium(&stage, &stage.fleet.iso());
    let how = How {
        second_port: true,
        ..BIOS
    };
    let xen = "console=com2,vga com2=57600,8n1";
    let texts = ["fleet example", "(XEN) Xen version ", xen, "domus.slot=a"];
    grub::says(&stick, (stage.dir(), "second-port"), how, &texts);
}

/// A medium, and both releases.
struct Site {
    stage: Stage,
    stick: PathBuf,
    isos: [PathBuf; 2],
}

impl Site {
    fn new(name: &str) -> Self {
        let stage = Stage::with(name, change);
        let fleet = &stage.fleet;
        let first = fleet.iso();
        fleet.change("domus.toml", "version     = \"1\"", "version     = \"2\"");
        fleet.domus(&["iso", "build", "--unsigned"]).exits(0);
        let second = fleet.dir.join("build/domus-example-2.iso");
        let stick = medium(&stage, &first);
        Self {
            stick,
            isos: [first, second],
            stage,
        }
    }

    /// Starts release `number` as GRUB would, with the other one in the drive.
    fn start(&self, number: usize, name: &str, arguments: &str) -> Machine {
        let iso = &self.isos[number - 1];
        let release = Release::at(iso, &self.id(number), self.stage.dir());
        let release = release.from_iso(self.isos[2 - number].clone());
        let parts = Parts {
            arguments,
            ..Parts::new(&release, ALPHA, std::slice::from_ref(&self.stick))
        };
        Machine::start(&parts, (self.stage.dir(), name))
    }

    /// The same, up to a shell.
    fn shell(&self, number: usize, name: &str, slot: &str) -> (Machine, String) {
        let mut machine = self.start(number, name, &format!("{slot} {SHELL}"));
        let console = &mut machine.console;
        let said = console.wait_for("domus: starting systemd", DECISION);
        // There is no Xen: libvirt's own test driver has a domain that is not ours.
        let uri = "export DOMUS_LIBVIRT_URI=test:///default";
        assert_eq!(systemd(console, uri).0, 0);
        (machine, said)
    }

    fn id(&self, number: usize) -> String {
        let iso = self.isos[number - 1].display().to_string();
        let manifest = self.stage.fleet.domus(&["iso", "verify", "--json", &iso]);
        let id = manifest.exits(0).json()["id"].as_str().map(str::to_owned);
        id.expect("an id")
    }

    /// GRUB starts release `number` and tells it this.
    fn grub_boots(&self, name: &str, number: usize, told: &str) {
        let id = format!("domus.release={}", self.id(number));
        let texts = ["(XEN) Xen version ", &id, told];
        grub::says(&self.stick, (self.stage.dir(), name), BIOS, &texts);
    }
}

fn upgrades(console: &mut Console) {
    console.send("domus-dom0 upgrade /dev/sr0; echo up''graded-$?.");
    console.wait_for("upgraded-0.", UPGRADE);
}

#[test]
fn a_release_is_tried_kept_and_left() {
    let site = Site::new("slots");
    let block = || grub::block(&site.stick).expect("a block");
    let trial = |good: Slot, tries| Choice {
        good,
        trial: Some((good.other(), tries)),
    };

    // The power fails while the other slot is written.
    let (mut machine, _) = site.shell(1, "cut", "domus.slot=a");
    let console = &mut machine.console;
    let status = console.ok("domus-dom0 status");
    let wants = "wants release 2, runs 1 (";
    assert!(
        status.contains(wants) && status.contains("slot a"),
        "{status}"
    );
    console.ok("domus-dom0 health --judge");
    console.send("domus-dom0 upgrade /dev/sr0");
    console.wait_for("writing 40 of ", UPGRADE);
    drop(machine);
    assert_eq!(block(), Choice::only(Slot::A));
    let mut head = vec![1; 1 << 20];
    let stick = fs::File::open(&site.stick).expect("a medium");
    stick
        .read_exact_at(&mut head, slot_b(&site.stick))
        .expect("a slot");
    assert!(head.iter().all(|byte| *byte == 0), "nothing that boots");
    site.grub_boots("cut-grub", 1, "domus.slot=a");

    // All of it.
    let (mut machine, _) = site.shell(1, "upgrade", "domus.slot=a");
    upgrades(&mut machine.console);
    let status = machine.console.ok("domus-dom0 status");
    let line = format!(
        "release {} in slot b is booted next, on trial",
        &site.id(2)[..12]
    );
    assert!(status.contains(&line), "{status}");
    drop(machine);
    assert_eq!(block(), trial(Slot::A, 0));
    site.grub_boots("trial-grub", 2, "domus.slot=b domus.try=1");
    assert_eq!(block(), trial(Slot::A, 1));

    // It gets healthy; until then the slot that would be gone back to is not given away.
    let (mut machine, said) = site.shell(2, "healthy", "domus.slot=b domus.try=1");
    let line = "domus: this release is on trial in slot b: boot 1 of 3 at most";
    assert!(said.contains(line), "{said}");
    let console = &mut machine.console;
    assert_eq!(console.run("pgrep -f domus-guard").0, 0);
    let (code, said) = console.run("domus-dom0 upgrade /dev/sr0");
    assert!(code == 3 && said.contains("goes back to"), "{code}: {said}");
    console.ok("domus-dom0 health --judge");
    assert_eq!(
        console.ok("domus-dom0 status").matches("on trial").count(),
        0
    );
    // The other one was healthy too.
    console.ok("domus-dom0 rollback --release");
    let status = console.ok("domus-dom0 generations");
    assert!(status.contains("in slot a is booted next\n"), "{status}");
    drop(machine);
    assert_eq!(block(), Choice::only(Slot::A));
    // And once more, as if it were new there.
    grub::set_block(&site.stick, &trial(Slot::B, 0).render());

    // Nobody judges: the guard does.
    let mut machine = site.start(
        1,
        "guard",
        "domus.slot=a domus.try=1 systemd.unit=basic.target",
    );
    machine.console.wait_for(
        "nobody found it healthy within 70 s of its boot: this machine starts again",
        GIVEN_UP,
    );
    machine
        .console
        .wait_for("reboot: Restarting system", GIVEN_UP);
    drop(machine);
    assert_eq!(block(), Choice::only(Slot::B));
    site.grub_boots("left-grub", 2, "domus.slot=b");

    let (mut machine, said) = site.shell(2, "left", "domus.slot=b");
    let id = site.id(1);
    let line = format!("domus: WENT BACK from release {}: nobody found", &id[..12]);
    assert!(said.contains(&line), "{said}");
    let console = &mut machine.console;
    let record = console.ok("cat /run/domus/boot.json");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["left_release"]["id"], id.as_str());
    assert_eq!(record["slot"]["slot"], "b");
    let status = console.ok("domus-dom0 status");
    assert!(status.contains("was left: nobody found"), "{status}");
    for command in ["upgrade /dev/sr0", "rollback --release"] {
        let (code, said) = console.run(&format!("domus-dom0 {command}"));
        assert_eq!(code, 3, "{said}");
    }
    console.send("domus-dom0 upgrade /dev/sr0 --again");
    console.wait_for("writing 40 of ", UPGRADE);
}
