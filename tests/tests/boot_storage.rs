// SPDX-License-Identifier: GPL-3.0-or-later
//! Local disks of a host, from nothing: prepared, used, cut off, exchanged, and left alone. The
//! release's own kernel and initramfs boot without Xen.

use domus_tests::disks::{MIB, blank, digests};
use domus_tests::fleet::ALPHA;
use domus_tests::machine::{BASIC, DECISION, Machine, Parts};
use domus_tests::ran::Ran;
use domus_tests::stage::{Stage, systemd, uuid};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of the boot beside the shell, what has nothing to do with disks is left out.
const ARGUMENTS: &str = "systemd.mask=nftables.service systemd.mask=systemd-timesyncd.service";
/// MiB of a disk that is prepared.
const DISK: u64 = 1024;
/// Until disks are prepared, which includes 10 s of waiting for those that are not there.
const PREPARED: Duration = Duration::from_secs(180);
const SIZES: &str = "var = \"160MiB\"\ntmp = \"64MiB\"\nswap = \"64MiB\"\nvolume-group = \"vg0\"\n";
/// What is on a disk of somebody else.
const FOREIGN: &str = "3f9a0b1c-2d3e-4f50-8c1d-02e4d1f0c5b9";

/// A release, and a config partition for each commit.
struct Hosts {
    stage: Stage,
}

impl Hosts {
    fn new(name: &str) -> Self {
        let stage = Stage::new(name);
        Self { stage }
    }

    /// A config partition whose commit says this of `[storage]`.
    fn config(&self, name: &str, storage: &str) -> PathBuf {
        let fleet = &self.stage.fleet;
        let path = fleet.dir.join("pservers/alpha/host.toml");
        let text = fs::read_to_string(&path).expect("a document");
        let before = text.split("\n[storage]").next().unwrap_or_default();
        fs::write(&path, format!("{before}\n[storage]\n{storage}{SIZES}")).expect("a document");
        let commit = fleet.commit();
        let partition = self.stage.partition(name);
        let partition = partition.marker("example", "alpha", &uuid(ALPHA));
        // Places that every config partition has: one that is write-protected gets none.
        let places = ["global", "local", "state"];
        let partition = places.iter().fold(partition, |partition, place| {
            partition.file(&format!("{place}/.keep"), "")
        });
        partition.repo(&fleet.dir, &commit).disk(32)
    }

    fn blank(&self, name: &str) -> PathBuf {
        blank(&self.stage.dir().join(format!("{name}.img")), DISK)
    }

    fn start(&self, name: &str, disks: &[&Path], read_only: bool) -> Machine {
        let disks: Vec<PathBuf> = disks.iter().map(|disk| (*disk).to_owned()).collect();
        let arguments = format!("{BASIC} {ARGUMENTS}");
        let parts = Parts {
            arguments: &arguments,
            read_only,
            ..Parts::new(&self.stage.release, ALPHA, &disks)
        };
        Machine::start(&parts, (self.stage.dir(), name))
    }

    /// Boots until disks are prepared, and returns what the console says of them. There is a shell
    /// then, whatever became of the disks.
    #[track_caller]
    fn boot(&self, name: &str, disks: &[&Path], read_only: bool) -> (Machine, String) {
        let mut machine = self.start(name, disks, read_only);
        let console = &mut machine.console;
        console.wait_for("domus: starting systemd", DECISION);
        console.wait_for("domus: storage ", PREPARED);
        let said = console.wait_for("\n", PREPARED).trim().to_owned();
        console.send("");
        let (code, _) = systemd(
            console,
            "until systemctl -q is-active local-fs.target; do sleep 1; done",
        );
        assert_eq!(code, 0, "the boot goes on");
        (machine, said)
    }
}

/// Cuts the power once all is on the disks.
fn cut(mut machine: Machine) {
    machine.console.ok("sync");
    drop(machine);
}

#[test]
fn a_blank_disk_is_prepared_once_and_used() {
    let hosts = Hosts::new("storage-one");
    let config = hosts.config("config", "disks = [\"virtio-data\"]\n");
    // What is write-protected later must not need its journal.
    let clean = config.with_extension("clean");
    fs::copy(&config, &clean).expect("a copy");
    let data = hosts.blank("data");
    let disks = [config.as_path(), &data];

    let (mut machine, said) = hosts.boot("first", &disks, false);
    assert_eq!(said, "ok: /var, /tmp, swap, volume group vg0");
    let console = &mut machine.console;
    for command in [
        "test $(stat -c %a /tmp) = 1777 && findmnt -n -t ext4 /tmp",
        "grep -q /dev/dm- /proc/swaps",
        "test $(vgs --noheadings -o lv_count vg0) = 3",
        "findmnt -n -t overlay /var",
        "test $(findmnt -n /var | wc -l) = 1",
        // The image's own is seen, and what is done stays.
        "test -d /var/lib/dpkg",
        "echo kept >/var/lib/kept && echo gone >/tmp/gone",
        "rm /var/lib/dpkg/status && test ! -e /var/lib/dpkg/status",
        // Once more changes nothing.
        "domus-dom0 storage",
        "grep -q kept /var/lib/kept",
        "grep -q '\"standing\": \"ok\"' /run/domus/boot.json",
    ] {
        console.ok(command);
    }
    cut(machine);

    let (mut machine, said) = hosts.boot("second", &disks, false);
    assert_eq!(said, "ok: /var, /tmp, swap, volume group vg0");
    let console = &mut machine.console;
    for command in [
        "grep -q kept /var/lib/kept",
        "test ! -e /tmp/gone",
        "test ! -e /var/lib/dpkg/status",
        "test -n \"$(ls /var/log/journal)\"",
        // Another release was here last.
        "echo -n other >/run/domus/storage/var/release",
        "cat /dev/zero >/run/domus/storage/var/upper/full; true",
    ] {
        console.ok(command);
    }
    cut(machine);

    // Full: in RAM, as the image has it.
    let (mut machine, said) = hosts.boot("full", &disks, false);
    assert!(
        said.starts_with("degraded: /tmp, swap, volume group vg0; "),
        "{said}"
    );
    assert!(said.contains("/var is not on disk: it is full: "), "{said}");
    let console = &mut machine.console;
    console.ok("test ! -e /var/lib/kept && touch /var/lib/new");
    console.ok("rm /run/domus/storage/var/upper/full");
    console.ok("domus-dom0 storage");
    console.ok("grep -q kept /var/lib/kept");
    // What was removed is the newer release's again; what was written stays.
    console.ok("test -e /var/lib/dpkg/status");
    cut(machine);

    let (mut machine, said) = hosts.boot("protected", &[&clean, &data], true);
    let expected =
        "refused; virtio-data is write-protected: what it holds is not used; /var is in RAM";
    assert_eq!(said, expected);
    machine
        .console
        .ok("test ! -e /var/lib/kept && touch /var/lib/new");
}

#[test]
fn a_disk_that_holds_anything_is_left_alone_unless_that_is_named() {
    let hosts = Hosts::new("storage-foreign");
    let plain = hosts.config("config", "disks = [\"virtio-data\"]\n");
    let data = hosts.blank("data");
    let path = data.display().to_string();
    Ran::program("mke2fs", &["-q", "-t", "ext4", "-U", FOREIGN, &path]);
    let before = digests(std::slice::from_ref(&data));
    let (mut machine, said) = hosts.boot("refused", &[&plain, &data], false);
    let expected = format!(
        "refused; virtio-data holds ext4 {FOREIGN} on /dev/vdb: it is left as it is; `erase` names \
         all of it if it may be erased; /var is in RAM"
    );
    assert_eq!(said, expected);
    machine.console.ok("touch /var/lib/new");
    cut(machine);
    assert_eq!(digests(std::slice::from_ref(&data)), before);

    let named = format!("disks = [\"virtio-data\"]\nerase = [\"{FOREIGN}\"]\n");
    let erase = hosts.config("erase", &named);
    for (name, command) in [
        ("erased", "echo kept >/var/lib/kept"),
        ("again", "grep -q kept /var/lib/kept"),
    ] {
        let (mut machine, said) = hosts.boot(name, &[&erase, &data], false);
        assert_eq!(said, "ok: /var, /tmp, swap, volume group vg0");
        machine.console.ok(command);
        cut(machine);
    }
}

#[test]
fn a_half_of_a_mirror_is_exchanged() {
    let hosts = Hosts::new("storage-mirror");
    let of = |one: &str, two: &str| {
        format!("disks = [\"virtio-{one}\", \"virtio-{two}\"]\nmirror = true\n")
    };
    let before = hosts.config("before", &of("m1", "m2"));
    let after = hosts.config("after", &of("m1", "m3"));
    let [m1, m2, m3] = ["m1", "m2", "m3"].map(|name| hosts.blank(name));
    let (mut machine, said) = hosts.boot("whole", &[&before, &m1, &m2], false);
    assert!(
        said.starts_with("ok: /var, /tmp, swap, volume group vg0"),
        "{said}"
    );
    machine.console.ok("echo kept >/var/lib/kept");
    assert_status(
        &mut machine,
        "storage ok: /var, /tmp, swap, volume group vg0; mirror whole",
    );
    machine
        .console
        .ok("sync; timeout 25 mdadm --wait /dev/md/domus; true");
    cut(machine);

    // The second is gone: the host goes on with the first.
    let (mut machine, said) = hosts.boot("half", &[&before, &m1], false);
    assert!(said.starts_with("degraded: /var, "), "{said}");
    assert!(said.ends_with("; virtio-m2 is not there"), "{said}");
    machine.console.ok("grep -q kept /var/lib/kept");
    assert_status(&mut machine, "; mirror degraded, virtio-m2 is not there");
    cut(machine);

    // Another took its place.
    let (mut machine, said) = hosts.boot("exchanged", &[&after, &m1, &m3], false);
    assert!(said.starts_with("ok: /var, "), "{said}");
    let begin = Instant::now();
    while machine
        .console
        .run("grep -q 1 /sys/block/md127/md/degraded")
        .0
        == 0
    {
        assert!(begin.elapsed() < PREPARED, "it is not whole again");
    }
    assert_status(
        &mut machine,
        "storage ok: /var, /tmp, swap, volume group vg0; mirror whole",
    );
    // One fails while the host runs.
    let fail = "mdadm --manage /dev/md/domus --fail $(readlink -f /dev/disk/by-id/virtio-m3-part1)";
    machine.console.ok(fail);
    assert_status(&mut machine, "; mirror degraded, virtio-m3 has FAILED; ");
    cut(machine);
    let (mut machine, said) = hosts.boot("other", &[&after, &m3], false);
    assert!(said.ends_with("; virtio-m1 is not there"), "{said}");
    machine.console.ok("grep -q kept /var/lib/kept");
}

/// What status says of disks. There is no Xen: libvirt's own test driver is asked for domains.
#[track_caller]
fn assert_status(machine: &mut Machine, expected: &str) {
    let status = "DOMUS_LIBVIRT_URI=test:///default domus-dom0 status 2>/dev/null";
    let said = machine.console.ok(status);
    assert!(said.contains(expected), "{said}");
}

/// What Domus wrote on a disk first.
fn claim(disk: &Path) -> String {
    let mut text = [0; 512];
    let disk = File::open(disk).expect("a disk");
    disk.read_exact_at(&mut text, MIB / 2).expect("a claim");
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_preparation_that_was_cut_off_is_begun_anew() {
    let hosts = Hosts::new("storage-cut");
    let config = hosts.config("config", "disks = [\"virtio-data\"]\n");
    let data = hosts.blank("data");
    let disks = [config.as_path(), &data];
    let cuts = std::env::var("DOMUS_CUTS")
        .ok()
        .and_then(|cuts| cuts.parse().ok());
    let cuts: u32 = cuts.unwrap_or(2);
    let mut last = claim(&data);
    for number in 0..cuts {
        // Somewhere in the seconds after the claim is written anew.
        let mut machine = hosts.start(&format!("cut-{number}"), &disks, false);
        let begin = Instant::now();
        while claim(&data) == last {
            assert!(begin.elapsed() < PREPARED, "nothing is prepared");
            // A console that nobody reads holds the machine up.
            machine.console.read();
        }
        // Instants that look random, and are the same each time.
        let more = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 4000;
        machine.console.read_for(Duration::from_millis(more));
        drop(machine);
        last = claim(&data);
        assert!(last.starts_with("domus storage 1\n"), "{last}");
        if last.contains("state ready") {
            break;
        }
    }
    let (mut machine, said) = hosts.boot("whole", &disks, false);
    assert_eq!(said, "ok: /var, /tmp, swap, volume group vg0");
    machine.console.ok("touch /var/lib/new");
}
