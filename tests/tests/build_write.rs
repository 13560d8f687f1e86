// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus iso write`, on loop devices: what is refused, what is written, and what is said when it
//! goes wrong. strace makes calls fail as they do when a stick is pulled out or full.

use assert_cmd::Command;
use domus_tests::disks::{blank, partitioned, poke};
use domus_tests::fleet::{self, Fleet};
use domus_tests::loops::{Loop, Mounted};
use domus_tests::ran::Ran;
use domus_tests::tmpfs::Tmpfs;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// Larger than any ISO, in MiB.
const STICK: u64 = 256;

struct Desk {
    home: TempDir,
    fleet: Fleet,
}

impl Desk {
    fn new() -> Self {
        domus_tests::require_root();
        let home = tempfile::tempdir().expect("a temporary directory");
        let fleet = Fleet::new(home.path());
        fleet.domus(&["iso", "build", "--unsigned"]).exits(0);
        Self { home, fleet }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn stick(&self) -> Loop {
        Loop::blank(&self.path("stick.img"), STICK)
    }

    fn write(&self, device: &str, more: &[&str]) -> Ran {
        let args = ["iso", "write", device];
        self.fleet.domus(&[&args[..], more].concat())
    }

    /// The same with all consent there is.
    fn erase(&self, device: &str) -> Ran {
        self.write(device, &["--yes", "--i-know-this-erases", device])
    }

    /// The same under strace, which does this to calls.
    fn injected(&self, device: &str, inject: &str) -> Ran {
        let mut command = Command::new("strace");
        let call = inject.split(':').next().expect("a call");
        // With a filter in the kernel other calls are as fast as ever, but no signal comes.
        let fast: &[&str] = match inject.contains("signal=") {
            true => &[],
            false => &["-f", "--seccomp-bpf"],
        };
        command
            .args(fast)
            .args(["-qq", "-o", "/dev/null"])
            .args(["-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={inject}")])
            .arg(domus_tests::shipped())
            .args(["iso", "write", device, "--yes"])
            .args(["--i-know-this-erases", device])
            .current_dir(&self.fleet.dir)
            .env("HOME", self.home.path())
            .env("DOMUS_CACHE", fleet::cache());
        Ran::of(&mut command, fleet::BUILD)
    }

    fn remembers(&self) -> serde_json::Value {
        self.fleet
            .domus(&["media", "list", "--json"])
            .exits(0)
            .json()["media"]
            .clone()
    }
}

fn read(path: &Path, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let file = File::open(path).expect("a file");
    file.read_exact_at(&mut bytes, offset).expect("bytes");
    bytes
}

/// Nothing boots from it, and nothing takes it for what it was.
fn assert_unusable(stick: &Loop) {
    assert_eq!(read(&stick.file, 0, 1 << 20), vec![0; 1 << 20]);
}

#[test]
fn a_stick_is_written_read_back_and_remembered() {
    let desk = Desk::new();
    let stick = desk.stick();
    // The superblock of a mirror that ends with the disk (MD metadata 1.0).
    poke(&stick.file, STICK * MIB - 8192, &[0xfc, 0x4e, 0x2b, 0xa9]);
    let report = desk.write(
        &stick.device,
        &["--yes", "--json", "--i-know-this-erases", &stick.device],
    );
    let report = report.exits(0).json();
    let iso = fs::read(desk.fleet.iso()).expect("an ISO");
    assert!(read(&stick.file, 0, iso.len()) == iso, "the same bytes");
    assert_eq!(
        read(&stick.file, (STICK - 1) * MIB, 1 << 20),
        vec![0; 1 << 20]
    );
    let digest = domus_system::digest::of_bytes(&iso);
    assert_eq!(report["digest"], format!("sha256:{digest}"));
    assert_eq!(report["remembered"], true);
    desk.fleet.domus(&["iso", "verify", &stick.device]).exits(0);

    let id = format!("sha256:{}", desk.fleet.release_id());
    let known = desk.remembers();
    assert_eq!(known[0]["release"], "1");
    assert_eq!(
        (&known[0]["id"], &known[0]["outdated"]),
        (&json!(id), &json!(null))
    );
    desk.fleet.domus(&["check"]).exits(0);
    let list = desk.fleet.domus(&["media", "list"]).exits(0).stdout;
    assert!(list.starts_with("written     release  host"), "{list}");
}

#[test]
fn no_disk_is_overwritten_without_being_named() {
    let desk = Desk::new();
    let stick = desk.stick();
    let device = &stick.device;
    let refused = |more: &[&str], texts: &[&str]| {
        let ran = desk.write(device, more).exits(3).complains(texts);
        assert!(ran.stderr.contains("Nothing was written"), "{}", ran.stderr);
    };
    let named = format!("add --i-know-this-erases {device}");
    refused(&["--yes"], &["is not removable", &named]);
    let other = ["--yes", "--i-know-this-erases", "/dev/loop-control"];
    refused(&other, &["names /dev/loop-control"]);
    let unasked = ["--i-know-this-erases", device];
    refused(&unasked, &["nobody to ask", "--yes"]);
    // What was typed is not what was asked for.
    let typed = |answer: &str| {
        let domus = domus_tests::shipped();
        let line = format!(
            "{} iso write {device} --i-know-this-erases {device}",
            domus.display()
        );
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        command
            .current_dir(&desk.fleet.dir)
            .write_stdin(format!("{answer}\n"));
        Ran::of(&mut command, fleet::BUILD)
    };
    let ran = typed("yes").exits(3);
    assert!(ran.stdout.contains("the answer was not"), "{}", ran.stdout);
    assert_eq!(read(&stick.file, 0, 1 << 20), vec![0; 1 << 20]);
    assert_eq!(desk.remembers(), json!([]));
    typed(device).exits(0);
    assert_eq!(desk.remembers()[0]["release"], "1");
}

#[test]
fn what_is_in_use_is_refused_whatever_is_said() {
    let desk = Desk::new();
    let file = partitioned(&desk.path("disk.img"), STICK);
    let (offset, size) = ("offset=1048576", format!("{}k", STICK * 1024));
    let path = file.display().to_string();
    let label = [
        "-q",
        "-t",
        "ext4",
        "-L",
        "family photos",
        "-E",
        offset,
        &path,
        &size,
    ];
    Ran::program("mke2fs", &label);
    let before = domus_system::digest::of_file(&file).expect("a digest");
    let refused = |device: &str, texts: &[&str]| {
        desk.erase(device).exits(3).complains(texts);
    };
    {
        let disk = Loop::of(&file);
        let partition = disk.partition(STICK);
        refused(&partition, &["is a partition", "family photos"]);
        {
            let point = desk.path("mounted");
            let _mounted = Mounted::new(&partition, &point);
            let mounted = format!("{partition} is mounted on {}", point.display());
            refused(
                &disk.device,
                &[&mounted, "`umount", "ext4   \"family photos\""],
            );
        }
        let above = Loop::of(Path::new(&disk.device));
        let made = format!("{} (loop) is made of it", above.device);
        refused(&disk.device, &[&made]);
    }
    let after = domus_system::digest::of_file(&file).expect("a digest");
    assert!(
        before == after,
        "mounting alone may have changed it: {before} {after}"
    );

    let small = Loop::blank(&desk.path("small.img"), 10);
    refused(&small.device, &["has 10 MiB, and"]);
    let stick = desk.stick();
    {
        let exclusive = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::EXCL.bits().cast_signed())
            .open(&stick.device)
            .expect("the device");
        refused(&stick.device, &["is in use"]);
        drop(exclusive);
    }
    Ran::program("mkswap", &[&stick.device]);
    Ran::program("swapon", &[&stick.device]);
    let ran = desk.erase(&stick.device);
    Ran::program("swapoff", &[&stick.device]);
    ran.exits(3).complains(&["is swapped to", "`swapoff"]);
    let no_device = blank(&desk.path("no-device"), STICK).display().to_string();
    desk.erase(&no_device)
        .exits(1)
        .complains(&["not a block device"]);
    desk.erase("/dev/no-such")
        .exits(1)
        .complains(&["/dev/no-such"]);
}

#[test]
fn a_damaged_iso_or_list_stops_before_the_disk_is_touched() {
    let desk = Desk::new();
    let stick = desk.stick();
    poke(&desk.fleet.iso(), 20 << 20, b"flipped");
    desk.erase(&stick.device)
        .exits(1)
        .complains(&["is damaged"]);
    desk.fleet.domus(&["iso", "build", "--unsigned"]).exits(0);
    desk.fleet.write("media.toml", "version = 1\n[[medium]]\n");
    let checked = desk.fleet.domus(&["check"]).exits(1).stdout;
    assert!(checked.contains("`date` is missing"), "{checked}");
    desk.erase(&stick.device)
        .exits(1)
        .complains(&["`date` is missing"]);
    assert!(
        !stick
            .file
            .metadata()
            .is_ok_and(|it| std::os::unix::fs::MetadataExt::blocks(&it) > 0)
    );
}

#[test]
fn a_stick_that_fails_is_said_to_be_of_no_use() {
    let desk = Desk::new();
    let stick = desk.stick();
    let unusable = format!("{} is not usable now", stick.device);
    for (inject, why) in [
        ("pwrite64:error=ENODEV:when=9+", "No such device"),
        ("pwrite64:error=ENOSPC:when=30", "No space left"),
        ("fsync:error=EIO:when=2", "Input/output error"),
        ("pwrite64:signal=INT:when=9", "interrupted after 29 of"),
    ] {
        let ran = desk.injected(&stick.device, inject).exits(1);
        let ran = ran.complains(&[&unusable, why, "nothing boots from it"]);
        assert!(ran.stdout.is_empty(), "no receipt: {}", ran.stdout);
        assert_unusable(&stick);
    }
    let ran = desk.injected(&stick.device, "pread64:error=EIO:when=60+");
    ran.exits(1).complains(&["Input/output error"]);
    assert_eq!(desk.remembers(), json!([]));
}

#[test]
fn a_disk_that_is_smaller_than_it_says_is_found_out() {
    let desk = Desk::new();
    let small = Tmpfs::new(&desk.path("small"), 64);
    let stick = Loop::blank(&small.path().join("stick.img"), STICK);
    let ran = desk.erase(&stick.device).exits(1);
    ran.complains(&["is not usable now", "writing to"]);
    assert_unusable(&stick);
    drop(stick);
    small.unmount();
}

#[test]
fn a_byte_that_comes_back_as_another_is_found() {
    let desk = Desk::new();
    let stick = desk.stick();
    let at = 20 * MIB + 7;
    std::thread::scope(|scope| {
        // Between writing and reading back.
        let inject = "fsync:delay_exit=3000000:when=3";
        let writing = scope.spawn(|| desk.injected(&stick.device, inject));
        let begin = Instant::now();
        while read(&stick.file, 0, 512) == [0; 512] {
            assert!(begin.elapsed() < Duration::from_secs(120), "no beginning");
            std::thread::sleep(Duration::from_millis(20));
        }
        let byte = read(&stick.file, at, 1)[0];
        poke(&stick.file, at, &[!byte]);
        let ran = writing.join().expect("it ran").exits(1);
        // Of the piece in which it is.
        let place = "between bytes 17825792 and 22020096 is not what";
        ran.complains(&["is not usable now", place]);
    });
    assert_eq!(desk.remembers(), json!([]));
}
