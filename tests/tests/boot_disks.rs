// SPDX-License-Identifier: GPL-3.0-or-later
//! Config partitions on real kinds of disks: every bus, table and file system; copies of a disk;
//! journals that a power cut left; and who decides. As `boot_discovery`, without Xen.

use domus_tests::console::Console;
use domus_tests::disks::{MIB, Partition, digests, into_partition, poke};
use domus_tests::fleet::ALPHA;
use domus_tests::machine::{Bus, DECISION, Machine, Parts, SHELL};
use domus_tests::ran::Ran;
use domus_tests::stage::{Stage, refusal, systemd, uuid};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// What asks for the password.
const PROMPT: &str = "(or press Control-D to continue): ";
/// The network card of the machine.
const MAC: &str = "02:00:5e:00:00:17";
/// The table of an MBR with a logical partition, which begins at 3 MiB.
const LOGICAL: &str = "label: dos\nlabel-id: 0xab54d286\nstart=2MiB, type=5\nstart=3MiB\n";
/// A GPT whose second partition begins at 2 MiB.
const GPT: &str = "label: gpt\nstart=1MiB, size=1MiB\n\
    start=2MiB, uuid=6F0B6CF2-1C74-4F7E-9D0A-0A1F5A7EAAAA\n";

/// A disk that holds the marker of another host, which is read to know that.
fn stranger(stage: &Stage, name: &str, host: &str) -> Partition {
    let serial = format!("serial = \"{name}\"");
    stage.partition(name).marker("example", host, &serial)
}

/// What boot.json says, read in the shell that [`SHELL`] asks for.
fn record(console: &mut Console) -> Value {
    let (code, record) = systemd(console, "cat /run/domus/boot.json");
    assert_eq!(code, 0, "{record}");
    serde_json::from_str(&record).expect("JSON")
}

/// QEMU's disks of SATA and NVMe have SMART; its sticks and its virtio disks have none, and none of
/// them keeps status from its end.
fn those_that_can_say_how_they_are(console: &mut Console) {
    let status = "DOMUS_LIBVIRT_URI=test:///default domus-dom0 status --json 2>/dev/null";
    let status: Value = serde_json::from_str(&console.ok(status)).expect("JSON");
    let disks = status["disks"].as_array().expect("a list");
    assert_eq!(disks.len(), 8, "{disks:#?}");
    let health = |serial: &str| {
        let mut disks = disks.iter();
        let disk = disks.find(|it| it["serial"].as_str().is_some_and(|it| it.contains(serial)));
        disk.map(|it| it["health"].clone()).unwrap_or_default()
    };
    // QM00001 is QEMU's own; the virtio disk is called by its file.
    for (serial, expected) in [
        ("QM0", "healthy"),
        ("nvme", "healthy"),
        ("virtio", "no-smart"),
    ] {
        assert_eq!(health(serial), expected, "{serial}: {disks:#?}");
    }
}

#[test]
fn every_bus_and_table_is_looked_at_in_any_order() {
    let stage = Stage::new("disks-buses");
    let own = format!("{}\nmac = \"{MAC}\"", uuid(ALPHA));
    let own = stage
        .partition("own")
        .marker("example", "alpha", &own)
        .repo(&stage.fleet.dir, &stage.head());
    let other = |name: &str, host: &str| stranger(&stage, name, host);
    let mut disks = vec![
        (
            Bus::Sata,
            into_partition(other("sata", "sata").whole(8), LOGICAL, 3),
        ),
        (Bus::Nvme, into_partition(own.xfs(), GPT, 2)),
        (Bus::VirtioScsi, other("vscsi", "vscsi").whole(8)),
        (
            Bus::MegaRaid,
            into_partition(other("mega", "mega").whole(8), GPT, 2),
        ),
        (Bus::Scsi, other("scsi", "scsi").disk(8)),
        (
            Bus::Usb,
            into_partition(other("usb", "usb").whole(8), GPT, 2),
        ),
        (Bus::Uas, other("uas", "uas").xfs()),
        (Bus::Virtio, other("virtio", "virtio").disk(8)),
    ];
    for order in ["one", "other"] {
        let parts = Parts {
            disks: disks.clone(),
            mac: Some(MAC),
            arguments: SHELL,
            ..Parts::new(&stage.release, ALPHA, &[])
        };
        let mut machine = Machine::start(&parts, (stage.dir(), order));
        let said = machine
            .console
            .wait_for("domus: starting systemd", DECISION);
        let taken = "domus: config /dev/nvme0n1p2, bound by DMI UUID, MAC\n";
        assert!(said.contains(taken), "{said}");
        let record = record(&mut machine.console);
        let seen = record["looked_at"].as_array().expect("a list");
        for host in ["sata", "vscsi", "mega", "scsi", "usb", "uas", "virtio"] {
            let reason = format!("marker for host {host} (serial {host})");
            let found = seen
                .iter()
                .filter(|it| it["reason"] == reason.as_str())
                .count();
            assert_eq!(found, 1, "{host}: {seen:#?}");
        }
        let named = |name: &str| seen.iter().find(|it| it["names"][0] == name).cloned();
        let own = named("PARTUUID=6f0b6cf2-1c74-4f7e-9d0a-0a1f5a7eaaaa");
        assert!(own.is_some(), "{seen:#?}");
        let logical = named("PARTUUID=ab54d286-05").expect("the logical partition");
        assert_eq!(logical["reason"], "marker for host sata (serial sata)");
        those_that_can_say_how_they_are(&mut machine.console);
        // What the firmware calls first another day.
        disks.reverse();
    }
}

#[test]
fn the_kernel_command_line_decides_but_not_between_copies() {
    let stage = Stage::new("disks-named");
    let first = stage.good("first").disk(24);
    let second = into_partition(stage.good("second").whole(24), GPT, 2);
    let copy = stage.dir().join("copy.img");
    fs::copy(&second, &copy).expect("a copy of a disk");
    let disks = [first, second, copy];
    let before = digests(&disks);
    let ask = |name: &str| format!("{SHELL} domus.config={name}");
    let guid = "PARTUUID=6F0B6CF2-1C74-4F7E-9D0A-0A1F5A7EAAAA";

    // The old stick was left in its port, and somebody has copied the new one.
    let mut machine = stage.start(&disks, &ask(guid));
    let table = refusal(&mut machine.console);
    let first = table.lines().next().unwrap_or_default();
    let name = guid.to_lowercase().replace("partuuid", "PARTUUID");
    let expected =
        format!("domus: 2 partitions are {name}: copies of one disk; Domus does not guess");
    assert_eq!(first, expected);
    let advice = format!("  vdb2      domus.config={name}\n");
    assert!(table.contains(&advice), "{table}");
    drop(machine);
    assert_eq!(digests(&disks), before, "nothing was written");

    let mut machine = stage.start(&disks[..2], &ask(guid));
    let said = machine
        .console
        .wait_for("domus: starting systemd", DECISION);
    assert!(
        said.contains("domus: config /dev/vdb2, bound by DMI UUID\n"),
        "{said}"
    );
    drop(machine);
    assert_eq!(
        digests(&disks)[0],
        before[0],
        "the other one was not written to"
    );
}

/// Takes the block in which ext4 keeps the directory `path` away, as if it were in the journal only:
/// what a power cut leaves. Until the journal is replayed, the directory cannot be read.
fn into_journal(disk: &Path, offset: u64, path: &str) {
    let device = format!("{}?offset={offset}", disk.display());
    let debugfs = |commands: &str| {
        let list = disk.with_extension("debugfs");
        fs::write(&list, commands).expect("commands");
        let list = list.display().to_string();
        Ran::program("debugfs", &["-w", "-f", &list, &device])
    };
    let said = debugfs(&format!("blocks {path}\n"));
    let block = said
        .lines()
        .last()
        .and_then(|line| line.split_whitespace().next());
    let block: u64 = block
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    let size = 4096;
    let content = disk.with_extension("block");
    let bytes = fs::read(disk).expect("a disk");
    let at = usize::try_from(offset + block * size).expect("a place");
    fs::write(&content, &bytes[at..at + 4096]).expect("a block");
    debugfs(&format!("jo\njw -b {block} {}\njc\n", content.display()));
    poke(disk, offset + block * size, &[0; 4096]);
}

#[test]
fn a_journal_is_replayed_on_the_partition_that_is_taken_only() {
    let stage = Stage::new("disks-journal");
    let own = stage.good("own").whole(40);
    into_journal(&own, 0, "/repo.git");
    let other = stranger(&stage, "other", "other").whole(40);
    into_journal(&other, 0, "/lost+found");
    let disks: [PathBuf; 2] = [own, other];
    let before = digests(&disks);
    let mut machine = stage.start(&disks, SHELL);
    let said = machine
        .console
        .wait_for("domus: starting systemd", DECISION);
    assert!(
        said.contains("domus: config /dev/vda, bound by DMI UUID\n"),
        "{said}"
    );
    let record = record(&mut machine.console);
    let reason = record["looked_at"][0]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("host alpha, by DMI UUID, after its journal: "),
        "{reason}"
    );
    drop(machine);
    let after = digests(&disks);
    assert_ne!(after[0], before[0], "it was replayed");
    assert_eq!(after[1], before[1], "the other's was not");
}

/// Nothing fits but what only a copy of its superblock can tell: that is repaired, and what nobody
/// can read is not.
#[test]
fn a_superblock_is_repaired_from_its_copy() {
    let stage = Stage::new("disks-superblock");
    let superblock = MIB + 1024;
    // Nothing is left of it; or it is there, and its checksum is wrong.
    for (name, at, bytes) in [
        ("gone", superblock, &[0; 1024][..]),
        ("wrong", superblock + 0x28, &[1, 2, 3]),
    ] {
        let disk = stage.good(name).disk_of_blocks(40, 1024);
        poke(&disk, at, bytes);
        let mut machine = stage.start(std::slice::from_ref(&disk), SHELL);
        let console = &mut machine.console;
        let said = console.wait_for("domus: starting systemd", DECISION);
        let repaired = "the superblock of /dev/vda1 was damaged and is repaired from its copy in \
            block 8193; its disk may be failing";
        assert!(said.contains(&format!("domus: {repaired}\n")), "{said}");
        let taken = "domus: config /dev/vda1, bound by DMI UUID\n";
        assert!(said.contains(taken), "{said}");
        let record = record(console);
        let reason = &record["looked_at"][0]["reason"];
        assert_eq!(
            reason,
            "host alpha, by DMI UUID, by a copy of its superblock"
        );
        assert_eq!(record["problems"][0], repaired);
        console.ok("touch /config/written");
    }
}

#[test]
fn nobody_is_needed_where_a_host_waits() {
    let stage = Stage::new("disks-wait");
    let disk = stage.good("late").disk(24);
    let mut machine = stage.start(&[], &format!("{SHELL} domus.wait=1 domus.rescue=wait"));
    let console = &mut machine.console;
    let said = console.wait_for(
        "domus: looking again every 10 s (domus.rescue=wait)",
        DECISION,
    );
    assert!(said.contains("  no disk was found at all\n"), "{said}");
    machine.plug(&disk);
    let said = machine
        .console
        .wait_for("domus: starting systemd", DECISION);
    assert!(
        said.contains("domus: config /dev/vda1, bound by DMI UUID\n"),
        "{said}"
    );
    assert!(!said.contains("no disk was found"), "said once: {said}");
}

#[test]
fn a_locked_release_asks_for_its_password_before_it_gives_a_shell() {
    let password = "not in the repository";
    let hash = Ran::program("openssl", &["passwd", "-6", "-salt", "domus", password]);
    let stage = Stage::with("disks-locked", |fleet| {
        let line = format!("[release]\nrescue-password = {:?} # ", hash.trim());
        fleet.change("domus.toml", "[release]", &line);
    });
    let mut machine = stage.start(&[], "domus.rescue=now domus.wait=1");
    let console = &mut machine.console;
    type_password(console, "guess");
    console.wait_for("Login incorrect", DECISION);
    type_password(console, password);
    console.wait_for("domus rescue# ", DECISION);
    assert_eq!(console.ok("id --user").trim(), "0");
    // The tools are the release's own.
    for command in [
        "blkid --version",
        "e2fsck -V",
        "git --version",
        "lvm version",
        "mdadm --version",
        "nano --version",
        "smartctl --version",
        "xfs_repair -V",
    ] {
        console.ok(&format!("{command} 2>&1"));
    }
    // What is said is on the screen as well.
    let screen = console.ok("fold -w 80 /dev/vcs1");
    assert!(
        screen.contains("A shell follows; `domus-boot retry`"),
        "{screen}"
    );
    console.send("domus-boot retry");
    console.wait_for("domus: no config partition for this machine", DECISION);
    console.wait_for(PROMPT, DECISION);
}

/// Types it as a person would: sulogin turns the echo off, and drops what was typed before, just
/// after it has asked.
fn type_password(console: &mut Console, password: &str) {
    console.wait_for(PROMPT, DECISION);
    sleep(Duration::from_secs(1));
    console.send(password);
}
