// SPDX-License-Identifier: GPL-3.0-or-later
//! A read-only seed, and the disk that a host sets up from it: once, again on another disk, after a
//! power cut, and never in place of what may be newer. The release's own kernel and initramfs boot
//! without Xen.

use domus_tests::disks::{MIB, blank};
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::machine::{BASIC, Bus, DECISION, Machine, Parts};
use domus_tests::ran::Ran;
use domus_tests::stage::{Stage, refusal, systemd, uuid};
use domus_tests::vfat;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// MiB of a disk.
const DISK: u64 = 768;
const ARGUMENTS: &str = "systemd.mask=nftables.service systemd.mask=systemd-timesyncd.service";
const STORAGE: &str =
    "[storage]\ndisks = [\"virtio-data\"]\nconfig = \"96MiB\"\nvar = \"160MiB\"\n";
const PREPARED: Duration = Duration::from_secs(300);
/// Behind the claim: how far a filling is.
const FILLING_AT: u64 = 516 << 10;
/// What is said where all is well. The release's own CD is sr0.
const SET_UP: &str =
    "ok: /config, /var, volume group domus; config /dev/vda1, set up from the seed ";

/// A host that has no domUs, and so needs no images.
fn change(fleet: &Fleet) {
    fleet.git(&["rm", "-rq", "pservers/alpha/domUs", "vservers"]);
    let path = "pservers/alpha/host.toml";
    let text = fs::read_to_string(fleet.dir.join(path)).expect("a document");
    let before = text.split("\n[storage]").next().unwrap_or_default();
    fleet.write(path, &format!("{before}\n{STORAGE}"));
    fleet.commit();
}

fn start(stage: &Stage, name: &str, disks: &[(Bus, PathBuf)], more: &str) -> Machine {
    let arguments = format!("{BASIC} {ARGUMENTS} {more}");
    let parts = Parts {
        arguments: &arguments,
        disks: disks.to_vec(),
        ..Parts::new(&stage.release, ALPHA, &[])
    };
    Machine::start(&parts, (stage.dir(), name))
}

/// Boots until disks are prepared: what is said of `/config`, and of the disks.
#[track_caller]
fn boot(stage: &Stage, name: &str, disks: &[(Bus, PathBuf)], more: &str) -> (Machine, [String; 2]) {
    let mut machine = start(stage, name, disks, more);
    let console = &mut machine.console;
    console.wait_for("domus: config ", DECISION);
    let config = console.wait_for("\n", DECISION).trim().to_owned();
    console.wait_for("domus: starting systemd", DECISION);
    console.wait_for("domus: storage ", PREPARED);
    let storage = console.wait_for("\n", PREPARED).trim().to_owned();
    console.send("");
    let wait = "until systemctl -q is-active local-fs.target; do sleep 1; done";
    assert_eq!(systemd(console, wait).0, 0, "the boot goes on");
    (machine, [config, storage])
}

/// The config partition is this host's, on the disk, and written to.
fn assert_config(machine: &mut Machine) {
    for command in [
        "findmnt -n -o SOURCE,FSTYPE,OPTIONS /config | grep -q '^/dev/vda1 ext4 rw,'",
        "test $(findmnt -n /config | wc -l) = 1",
        "test $(stat -c %a:%u:%g /config/state/ssh/ssh_host_ed25519_key) = 600:0:0",
        "git -C /config/repo.git fsck --strict --no-progress",
        "git -C /config/repo.git update-ref refs/domus/good refs/domus/running",
        "grep -q virtio-data /config/local/host.toml && test -d /config/global/etc",
        "touch /config/state/written",
    ] {
        machine.console.ok(command);
    }
}

/// Takes the power once all is on the disks.
fn cut(mut machine: Machine) {
    machine.console.ok("sync");
    drop(machine);
}

fn status(machine: &mut Machine) -> String {
    let status = "DOMUS_LIBVIRT_URI=test:///default domus-dom0 status 2>/dev/null";
    machine.console.ok(status)
}

#[test]
fn a_blank_disk_is_set_up_from_a_seed_and_outranks_it() {
    let stage = Stage::with("seed", change);
    let key = stage.fleet.host_key();
    stage.fleet.commit();
    let seed = stage.dir().join("seed.iso");
    let path = seed.display().to_string();
    let args = ["config", "seed", "alpha", "--host-key", &key, "-o", &path];
    stage.fleet.domus(&args).exits(0);
    let data = blank(&stage.dir().join("data.img"), DISK);
    let disks = [(Bus::Virtio, data.clone()), (Bus::Cd, seed)];

    let (mut machine, [config, storage]) = boot(&stage, "first", &disks, "");
    let expected = "/dev/sr1, bound by DMI UUID, a read-only seed: nothing is kept";
    assert_eq!(config, expected);
    assert_eq!(storage, format!("{SET_UP}/dev/sr1"));
    assert_config(&mut machine);
    let said = status(&mut machine);
    let line = "config /dev/vda1, set up from the seed /dev/sr1\n";
    assert!(said.contains(line), "{said}");
    machine.console.ok("domus-dom0 storage");
    cut(machine);

    // The seed is still there.
    let (mut machine, [config, storage]) = boot(&stage, "second", &disks, "");
    assert_eq!(config, "/dev/vda1, bound by DMI UUID");
    assert_eq!(storage, "ok: /config, /var, volume group domus");
    machine.console.ok("test -e /config/state/written");
    // What the seed has is older from now on, and cannot be seen to be.
    machine
        .console
        .ok("rm -r /config/repo.git/objects && umount -R /config");
    cut(machine);

    let mut machine = start(&stage, "refused", &disks, "");
    let said = refusal(&mut machine.console);
    let first =
        "domus: the config partition of this machine cannot be used, and sr1 may be older: ";
    assert!(said.starts_with(first), "{said}");
    assert!(
        said.contains("  vda1      ext4     marker fits, but "),
        "{said}"
    );
    let line = "  sr1       iso9660  fits: a seed of host alpha, by DMI UUID\n";
    assert!(said.contains(line), "{said}");
    let name = said.rsplit("sr1       ").next().unwrap_or_default();
    let name = name.lines().next().unwrap_or_default().to_owned();
    assert!(name.starts_with("domus.config=UUID="), "{said}");
    drop(machine);

    let (mut machine, [config, storage]) = boot(&stage, "named", &disks, &name);
    assert_eq!(config, expected);
    let refused = "degraded: /var, volume group domus; /dev/vda1 is not set up from /dev/sr1: it is a \
                   config partition, which the boot did not take";
    assert!(storage.starts_with(refused), "{storage}");
    let said = status(&mut machine);
    let line = "config /dev/sr1, a read-only seed: nothing is kept\n";
    assert!(said.contains(line), "{said}");
    let (code, said) = machine.console.run("domus-dom0 rollback");
    assert!(
        code == 1 && said.contains("is the read-only seed /dev/sr1"),
        "{said}"
    );
    // Nobody needs what is there.
    machine
        .console
        .ok("blkdiscard --force --zeroout /dev/vda1 && domus-dom0 storage");
    assert_config(&mut machine);
}

#[test]
fn a_filling_that_was_cut_off_is_made_anew_from_a_stick_as_well() {
    let stage = Stage::with("seed-stick", change);
    let key = stage.fleet.host_key();
    let commit = stage.fleet.commit();
    let partition = stage
        .partition("seed")
        .marker("example", "alpha", &uuid(ALPHA));
    let partition = partition.repo(&stage.fleet.dir, &commit).file(
        "state/ssh/ssh_host_ed25519_key",
        &fs::read_to_string(key).expect("a key"),
    );
    // Places for trees of the commit: nothing can be made on what is read-only.
    for place in ["global", "local"] {
        fs::create_dir_all(partition.path().join(place)).expect("a place");
    }
    let stick = stage.dir().join("stick.img");
    vfat::make(partition.path(), &stick);
    let data = blank(&stage.dir().join("data.img"), DISK);
    let disks = [(Bus::Virtio, data.clone()), (Bus::Usb, stick)];

    let mut machine = start(&stage, "cut", &disks, "");
    let console = &mut machine.console;
    console.wait_for("setting /dev/vda1 up from the seed /dev/sda", PREPARED);
    console.read_for(Duration::from_millis(300));
    drop(machine);
    let note = note(&data);
    assert!(note.starts_with("domus config 1\n"), "{note}");

    let (mut machine, [config, storage]) = boot(&stage, "whole", &disks, "");
    assert!(
        config.starts_with("/dev/sda, bound by DMI UUID, a read-only seed"),
        "{config}"
    );
    assert_eq!(storage, format!("{SET_UP}/dev/sda"));
    assert_config(&mut machine);
    machine
        .console
        .ok("umount -R /config && e2fsck -fn /dev/vda1");
    let table = Ran::program("sfdisk", &["--dump", &data.display().to_string()]);
    assert!(table.contains("name=\"domus-config\""), "{table}");
}

/// What is noted of a filling.
fn note(disk: &Path) -> String {
    let mut text = [0; 512];
    let disk = File::open(disk).expect("a disk");
    assert!(disk.metadata().expect("its size").len() > MIB);
    disk.read_exact_at(&mut text, FILLING_AT).expect("a note");
    String::from_utf8_lossy(&text).into_owned()
}
