// SPDX-License-Identifier: GPL-3.0-or-later
//! What `domus-boot` decides about the disks of a machine. The release's own kernel and initramfs
//! boot without Xen, with its ISO as CD: what comes after them is the other boot tests' matter.

use domus_tests::disks::{MIB, blank, cut, digests, partitioned, poke};
use domus_tests::fleet::ALPHA;
use domus_tests::machine::{DECISION, SHELL};
use domus_tests::ran::Ran;
use domus_tests::stage::{Stage, refusal, systemd, uuid};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// Another machine.
const OTHER: &str = "6f0b6cf2-1c74-4f7e-9d0a-0a1f5a7e0099";

/// A disk, and what the table has to say of it.
struct Bad {
    disk: PathBuf,
    content: &'static str,
    reason: String,
    is_whole: bool,
}

/// Without a partition table, without a file system, with other file systems.
fn foreign(stage: &Stage) -> Vec<Bad> {
    let dir = stage.dir();
    let bad = |disk, content, reason: &str, is_whole| Bad {
        disk,
        content,
        reason: reason.into(),
        is_whole,
    };
    let other = "no ext4 or xfs, so no config partition";
    let fat = partitioned(&dir.join("fat.img"), 8);
    poke(&fat, MIB + 82, b"FAT32   ");
    let swap = partitioned(&dir.join("swap.img"), 8);
    poke(&swap, MIB + 4086, b"SWAPSPACE2");
    let mirror = stage.good("mirror").disk(16);
    // MD metadata 1.0 stands 8 KiB before the end of the member.
    poke(&mirror, 17 * MIB - 8192, &[0xfc, 0x4e, 0x2b, 0xa9]);
    vec![
        bad(
            blank(&dir.join("blank.img"), 8),
            "-",
            "no file system",
            true,
        ),
        bad(
            partitioned(&dir.join("empty.img"), 8),
            "-",
            "no file system",
            false,
        ),
        bad(fat, "vfat", "cannot be mounted: ", false),
        bad(swap, "swap", other, false),
        bad(mirror, "linux_raid_member", other, false),
    ]
}

/// With an ext4 that is no config partition, or not of this machine.
fn strange(stage: &Stage) -> Vec<Bad> {
    let bad = |disk, reason: &str| Bad {
        disk,
        content: "ext4",
        reason: reason.into(),
        is_whole: false,
    };
    let here = uuid(ALPHA);
    let lab = stage
        .partition("lab")
        .marker("lab", "alpha", &here)
        .disk(16);
    // As after a power cut: whoever mounts it carelessly writes to it.
    let device = format!("{}?offset={MIB}", lab.display());
    Ran::program("debugfs", &["-w", "-R", "feature +needs_recovery", &device]);
    let link = stage.partition("link");
    symlink("/etc/passwd", link.path().join(".domus-config")).expect("a link");
    let other = stage.partition("other");
    let other = other.marker("example", "beta", &uuid(OTHER)).disk(16);
    let text = stage
        .partition("text")
        .file(".domus-config", "alpha, I think\n");
    let long = "x".repeat(5000);
    let foreign = "marker of fleet \"lab\", this release belongs to \"example\"";
    let both = format!("{here}\nserial = \"8QXK\"");
    let both = stage.partition("both").marker("example", "alpha", &both);
    vec![
        bad(
            stage.partition("none").file("etc/fstab", "").disk(8),
            "no marker",
        ),
        bad(lab, foreign),
        bad(other, &format!("marker for host beta (DMI UUID {OTHER})")),
        bad(both.disk(8), "marker for host alpha (serial 8QXK)"),
        bad(text.disk(8), "marker cannot be read: "),
        bad(link.disk(8), "marker is no regular file"),
        bad(
            stage.partition("long").file(".domus-config", &long).disk(8),
            "marker of more than 4096 bytes",
        ),
    ]
}

/// With the marker of this machine, and something broken.
fn broken(stage: &Stage) -> Vec<Bad> {
    let bad = |disk, reason: &str| Bad {
        disk,
        content: "ext4",
        reason: reason.into(),
        is_whole: false,
    };
    let here = uuid(ALPHA);
    let mine = |name: &str| stage.partition(name).marker("example", "alpha", &here);
    let short = stage.good("short").disk(32);
    cut(&short, 9 * MIB);
    let garbage = stage.good("garbage").disk(16);
    // The magic number stays, all around it is noise: flags, sizes, checksum.
    let noise: Vec<u8> = (0..900_u32)
        .map(|n| n.wrapping_mul(197).to_le_bytes()[0])
        .collect();
    poke(&garbage, MIB + 1024 + 0x3a, &noise);
    let checksum = stage.good("checksum").disk(16);
    poke(&checksum, MIB + 1024 + 0x28, &[1, 2, 3]);
    let groups = stage.good("groups").disk(16);
    poke(&groups, MIB + 4096, &[0xff; 64]);
    let pack = stage.good("pack");
    let packs = pack.path().join("repo.git/objects/pack");
    for entry in fs::read_dir(&packs).expect("packs").flatten() {
        cut(&entry.path(), 100);
    }
    let refless = stage.good("refless");
    let reference = refless.path().join("repo.git/refs/domus/running");
    fs::remove_file(reference).expect("a ref");
    let ghost = stage.partition("ghost").marker("example", "ghost", &here);
    let ghost = ghost.repo(&stage.fleet.dir, &stage.head()).disk(16);
    let size = 32 * MIB;
    vec![
        bad(
            short,
            &format!(
                "cut off: a file system of {size} bytes on {} bytes",
                8 * MIB
            ),
        ),
        bad(garbage, ""),
        bad(checksum, "cannot be mounted: "),
        bad(groups, "cannot be mounted: "),
        bad(mine("bare").disk(8), "marker fits, but "),
        bad(pack.disk(16), "marker fits, but "),
        bad(refless.disk(16), "marker fits, but "),
        bad(ghost, "marker fits, but "),
    ]
}

#[test]
fn every_bad_disk_is_named_with_its_reason_and_none_is_written_to() {
    let stage = Stage::new("discovery-bad");
    let all = [foreign(&stage), strange(&stage), broken(&stage)];
    let all: Vec<Bad> = all.into_iter().flatten().collect();
    let disks: Vec<PathBuf> = all.iter().map(|bad| bad.disk.clone()).collect();
    let before = digests(&disks);
    let mut machine = stage.start(&disks, "");
    let refusal = refusal(&mut machine.console);
    let first = refusal.lines().next().unwrap_or_default();
    assert_eq!(first, "domus: no config partition for this machine");
    for (letter, bad) in ('a'..).zip(&all) {
        let part = if bad.is_whole { "" } else { "1" };
        let name = format!("vd{letter}{part}");
        let line = format!("  {name:<9} {:<8} {}", bad.content, bad.reason);
        let shown = refusal
            .lines()
            .find(|line| line.contains(&format!("  {name} ")));
        let shown = shown.unwrap_or_else(|| panic!("no {name} in\n{refusal}"));
        assert!(shown.starts_with(&line), "{}: {shown}", bad.disk.display());
        assert!(
            shown.len() > line.len() || !bad.reason.ends_with(' '),
            "{shown}"
        );
    }
    assert!(refusal.contains("has no pservers/ghost"), "{refusal}");
    assert_eq!(refusal.matches("  vd").count(), all.len(), "{refusal}");
    assert!(!refusal.contains("fits:"), "{refusal}");

    let mounts = machine.console.ok("cat /proc/mounts");
    assert!(
        !mounts.contains("/dev/vd"),
        "nothing stays mounted: {mounts}"
    );
    let record = machine.console.ok("cat /run/domus/boot.json");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(
        record["looked_at"].as_array().map(Vec::len),
        Some(all.len())
    );
    assert_eq!(record["commit"], serde_json::Value::Null);
    drop(machine);
    let after = digests(&disks);
    for ((bad, before), after) in all.iter().zip(before).zip(after) {
        assert_eq!(before, after, "{} was written to", bad.disk.display());
    }
}

#[test]
fn of_two_that_fit_none_is_taken_until_an_operator_says_which() {
    let stage = Stage::new("discovery-two");
    let fitting = stage.good("first");
    let second = stage.good("second").disk(24);
    let disks = [fitting.disk(24), second];
    let before = digests(&disks);
    let mut machine = stage.start(&disks, SHELL);
    let console = &mut machine.console;
    let refusal = refusal(console);
    let first = "domus: 2 config partitions fit this machine; Domus does not guess";
    assert_eq!(refusal.lines().next(), Some(first));
    for name in ["vda1", "vdb1"] {
        let line = format!("  {name}      ext4     fits: host alpha, by DMI UUID");
        assert!(refusal.contains(&line), "{refusal}");
    }
    assert_eq!(digests(&disks), before, "nothing was written");

    let (code, said) = console.run("domus-boot use /dev/vdz9");
    assert_eq!(
        (code, said.trim()),
        (1, "domus-boot: /dev/vdz9 does not exist")
    );
    // Not what an operator meant: refused, and the shell is there again.
    console.send("domus-boot use /dev/vda");
    console.wait_for("domus: /dev/vda: no file system", DECISION);
    console.wait_for("domus rescue# ", DECISION);
    console.send("domus-boot use /dev/vdb1");
    let said = console.wait_for("domus: starting systemd", DECISION);
    assert!(
        said.contains("domus: config /dev/vdb1, bound by hand"),
        "{said}"
    );
    let (_, mount) = systemd(console, "grep ' /config ' /proc/mounts");
    assert!(mount.starts_with("/dev/vdb1 /config ext4 rw,"), "{mount}");
    drop(machine);
    assert_eq!(
        digests(&disks)[0],
        before[0],
        "the other one was not written to"
    );
}

#[test]
fn a_disk_that_comes_late_is_found_by_retry_and_only_its_commit_runs() {
    let stage = Stage::new("discovery-late");
    let head = stage.head();
    // A later commit that nobody said to run, and edits by hand on the partition itself.
    stage
        .fleet
        .write("pservers/alpha/etc/motd", "not this host's commit\n");
    let later = stage.fleet.commit();
    let evil = "edited by hand\n";
    let good = stage
        .partition("good")
        .marker("example", "alpha", &uuid(ALPHA))
        .repo(&stage.fleet.dir, &later)
        .file("local/etc/motd", evil)
        .file("global/etc/motd", evil)
        .file("pservers/alpha/etc/motd", evil)
        .file("repo.git/pservers/alpha/etc/motd", evil)
        .file("repo.git/worktree/pservers/alpha/etc/motd", evil)
        .file("repo.git/refs/heads/main", &format!("{later}\n"))
        .file("repo.git/refs/domus/running", &format!("{head}\n"));
    let disk = good.disk(32);
    let mut machine = stage.start(&[], SHELL);
    let refusal = refusal(&mut machine.console);
    assert!(refusal.contains("  no disk was found at all"), "{refusal}");

    machine.plug(&disk);
    machine.console.send("domus-boot retry");
    let console = &mut machine.console;
    let said = console.wait_for("domus: starting systemd", DECISION);
    assert!(
        said.contains("domus: config /dev/vda1, bound by DMI UUID"),
        "{said}"
    );
    assert!(
        said.contains("domus: /etc image < generated < global < alpha   "),
        "{said}"
    );

    let (_, motd) = systemd(console, "cat /etc/motd");
    assert!(motd.starts_with("alpha, a Xen host."), "{motd}");
    let record = console.ok("cat /run/domus/boot.json");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["commit"], head);
    let edited = console.run("grep -rl 'edited by hand' /etc /config/local /config/global /run");
    assert_eq!(edited, (1, String::new()));
    assert_eq!(
        console.ok("ls /config/local").trim(),
        "domUs  etc  host.toml"
    );
    let (code, said) = console.run("touch /x");
    assert!(
        code != 0 && said.contains("Read-only file system"),
        "{said}"
    );
}
