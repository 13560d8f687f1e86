// SPDX-License-Identifier: GPL-3.0-or-later
//! `volume` of a host that keeps volumes as files: whose they are, and that none is lost that anybody
//! may want.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{Host, Ran};
use domus_model::volumes::backup::{END, HEAD};
use serde_json::json;

const DISK: &str = "[[disk]]\nname = \"data\"\nsize = \"8MiB\"\nmount = \"/srv\"\n";
const SIZE: usize = 8 << 20;
const DATA: &str = "config/volumes/web.data.img";

/// A host with the domU `web`, whose volume was made and is in use by nobody.
fn host() -> Host {
    assert!(
        rustix::process::geteuid().is_root(),
        "loop devices need root: run the tests so"
    );
    let host = Host::new(&[("web", DISK)], "");
    host.give_image();
    assert_eq!(host.run(&["apply"]).code, 0);
    assert_eq!(host.run(&["stop", "web"]).code, 0);
    say(&host, b"what the guest wrote");
    host
}

/// Writes something into the volume, as a guest does.
fn say(host: &Host, text: &[u8]) {
    let volume = File::options()
        .write(true)
        .open(host.at(DATA))
        .expect("open");
    volume.write_all_at(text, 4 << 20).expect("written");
}

/// Lets `web` run, and have its volume.
fn run_web(host: &Host) {
    assert_eq!(host.run(&["start", "web"]).code, 0);
    host.runs(&["test", "web"]);
    host.store.set("/local/domain/2/name", "web");
    host.uses_loops(2);
}

/// What is in the pool: names, inodes and contents.
fn pool(host: &Host) -> Vec<(PathBuf, u64, Vec<u8>)> {
    let entries = fs::read_dir(host.at("config/volumes")).expect("list");
    let entry = |path: PathBuf| {
        let inode = path.metadata().expect("stat").ino();
        let content = fs::read(&path).expect("read");
        (path, inode, content)
    };
    let mut all: Vec<_> = entries.map(|it| entry(it.expect("entry").path())).collect();
    all.sort();
    all
}

/// Runs the agent with this on standard input.
fn feed(host: &Host, arguments: &[&str], input: &[u8]) -> Ran {
    fs::write(host.at("input"), input).expect("written");
    let input = File::open(host.at("input")).expect("open");
    let ran = host.command(arguments).stdin(input).output();
    Ran::from(ran.expect("run"))
}

fn copied(host: &Host) -> Output {
    let copied = host.command(&["volume", "backup", "web/data"]).output();
    copied.expect("run")
}

fn refused(ran: &Ran, part: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains(part), "{part}: {ran:?}");
}

#[test]
fn all_are_listed_and_only_orphans_are_destroyed_by_name() {
    let host = host();
    for orphan in ["old.data", "old.log"] {
        host.write(&format!("config/volumes/{orphan}.img"), &"x".repeat(4096));
    }
    run_web(&host);
    let list = host.run(&["volume", "list"]);
    let expected = "\
volume    domU  disk  on    size  used by
old.data  old   data  file  4KiB  -        orphan
old.log   old   log   file  4KiB  -        orphan
web.data  web   data  file  8MiB  web
";
    assert_eq!((list.code, list.stdout.as_str()), (0, expected), "{list:?}");
    let list = host.run(&["volume", "list", "--json"]).json();
    let expected = json!({
        "name": "web.data", "domU": "web", "disk": "data", "backend": "file", "size": SIZE,
        "used_by": "web", "orphan": false, "snapshot_of": null,
    });
    assert_eq!(list[2], expected);
    let line =
        "orphans: no domU here has the volumes old.data, old.log; `domus-dom0 volume list`\n";
    for command in ["status", "plan"] {
        let shown = host.run(&[command]).stdout;
        assert!(shown.contains(line), "{command}: {shown}");
        let shown = host.run(&[command, "--json"]).json();
        assert_eq!(shown["orphans"], json!(["old.data", "old.log"]));
    }

    let before = pool(&host);
    refused(
        &host.run(&["volume", "destroy", "old.data", "web.data"]),
        "web has it",
    );
    let unknown = host.run(&["volume", "destroy", "old.data", "../images"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(
        unknown.stderr.contains("there is no volume ../images"),
        "{unknown:?}"
    );
    assert!(pool(&host) == before, "all or none");
    assert_eq!(host.run(&["volume", "destroy"]).code, 1);

    let gone = host.run(&["volume", "destroy", "old.data", "old.log"]);
    let said = "old.data   destroyed\nold.log   destroyed\n";
    assert_eq!((gone.code, gone.stdout.as_str()), (0, said), "{gone:?}");
    assert!(pool(&host) == before[2..]);
    assert!(!host.run(&["status"]).stdout.contains("orphans"));
}

#[test]
fn what_a_domu_has_is_destroyed_only_if_somebody_stopped_it_and_means_it() {
    let host = host();
    let before = pool(&host);
    refused(&host.run(&["volume", "destroy", "web.data"]), "--declared");
    fs::remove_file(host.at("run/domus/domus/web/held")).expect("rm");
    let declared = ["volume", "destroy", "--declared", "web.data"];
    refused(&host.run(&declared), "`domus-dom0 stop web`");
    // dom0 looks into it.
    host.write("run/domus/domus/web/held", "");
    let device = domus_system::loopdev::attach(&host.at(DATA), true).expect("attach");
    let mounted = File::open(&device).expect("open");
    refused(&host.run(&declared), "dom0 has it");
    drop(mounted);
    assert!(pool(&host) == before);
    assert_eq!(host.run(&declared).code, 0);
    assert!(!host.at(DATA).exists());
    let list = host.run(&["volume", "list"]).stdout;
    assert!(
        list.contains("web.data  web   data  file  -     -        not made yet\n"),
        "{list}"
    );
}

#[test]
fn a_copy_is_whole_and_comes_back_from_a_file_and_from_a_pipe() {
    let host = host();
    let original = fs::read(host.at(DATA)).expect("read");
    let file = host.at("web.copy").display().to_string();
    let made = host.run(&["volume", "backup", "web/data", "--to", &file]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(
        made.stdout.starts_with("web/data   8MiB   sha256:"),
        "{made:?}"
    );
    let copy = fs::read(&file).expect("read");
    assert_eq!(copy.len(), HEAD + SIZE + END);
    assert!(copy[HEAD..][..SIZE] == original);
    let meta = fs::metadata(&file).expect("stat");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert!(meta.blocks() * 512 < 6 << 20, "zeros take no room");
    refused(
        &host.run(&["volume", "backup", "web/data", "--to", &file]),
        "replaces no other",
    );
    let piped = copied(&host);
    assert!(
        piped.status.success() && piped.stdout == copy,
        "{:?}",
        piped.status
    );

    for (arguments, input) in [
        (
            vec!["volume", "restore", "web/data", "--from", &file],
            &b""[..],
        ),
        (vec!["volume", "restore", "web/data"], &copy[..]),
    ] {
        say(&host, b"what is lost then   ");
        let restored = feed(&host, &arguments, input);
        assert_eq!(restored.code, 0, "{restored:?}");
        let pool = pool(&host);
        assert_eq!(pool.len(), 1, "nothing is left beside it");
        assert!(pool[0].2 == original);
        let meta = fs::metadata(host.at(DATA)).expect("stat");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        assert!(meta.blocks() * 512 < 6 << 20, "zeros take no room");
    }
    // A new host, where no volume is yet.
    fs::remove_file(host.at(DATA)).expect("rm");
    let restored = feed(&host, &["volume", "restore", "web/data"], &copy);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert!(pool(&host)[0].2 == original);
    assert_eq!(host.run(&["start", "web"]).code, 0);
}

#[test]
fn what_is_cut_altered_or_something_else_leaves_the_volume_as_it_was() {
    let host = host();
    let copy = copied(&host).stdout;
    say(&host, b"newer than the copy ");
    let before = pool(&host);
    let restore = ["volume", "restore", "web/data"];
    let fails = |input: &[u8], part: &str| {
        let ran = feed(&host, &restore, input);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
        assert!(pool(&host) == before, "{part}");
    };
    for (length, part) in [
        (0, "no copy of a volume"),
        (1, "no copy of a volume"),
        (HEAD - 1, "its head is damaged"),
        (HEAD, "ends 8388608 bytes too early"),
        (HEAD + SIZE / 2, "ends 4194304 bytes too early"),
        (HEAD + SIZE - 1, "bytes too early"),
        (HEAD + SIZE, "is cut off"),
        (copy.len() - 1, "is cut off"),
    ] {
        fails(&copy[..length], part);
    }
    fails(&[&copy[..], b"x"].concat(), "it is damaged");
    for (at, part) in [
        (0, "no copy of a volume"),
        (13, "another format"),
        (40, "damaged"),
        (HEAD - 1, "its head is damaged"),
        (HEAD, "it is damaged"),
        (HEAD + SIZE / 2, "it is damaged"),
        (HEAD + SIZE - 1, "it is damaged"),
        (HEAD + SIZE + 9, "it is damaged"),
        (copy.len() - 1, "it is damaged"),
    ] {
        let mut altered = copy.clone();
        altered[at] ^= 4;
        let ran = feed(&host, &restore, &altered);
        assert_ne!(ran.code, 0, "{at}: {ran:?}");
        assert!(
            ran.stderr.contains(part) || at == 40,
            "{at} {part}: {ran:?}"
        );
        assert!(pool(&host) == before, "{at}");
    }
    let gone = host.run(&["volume", "restore", "web/data", "--from", "/nowhere"]);
    assert!(
        gone.code == 1 && gone.stderr.contains("reading /nowhere"),
        "{gone:?}"
    );
}

#[test]
fn a_copy_of_something_else_is_taken_only_if_somebody_means_it() {
    let host = host();
    let copy = copied(&host).stdout;
    let other = Host::new(&[("mail", DISK)], "");
    other.give_image();
    assert_eq!(other.run(&["apply"]).code, 0);
    assert_eq!(other.run(&["stop", "mail"]).code, 0);
    let restore = ["volume", "restore", "mail/data"];
    refused(
        &feed(&other, &restore, &copy),
        "is a copy of web/data of the fleet example",
    );
    let meant = [&restore[..], &["--of-another"]].concat();
    assert_eq!(feed(&other, &meant, &copy).code, 0);
    let restored = fs::read(other.at("config/volumes/mail.data.img")).expect("read");
    assert!(restored == fs::read(host.at(DATA)).expect("read"));
    // Its document wants an ext4, whoever means what.
    fs::write(host.at(DATA), vec![0; SIZE]).expect("written");
    let empty = feed(&other, &meant, &copied(&host).stdout);
    refused(
        &empty,
        "holds nothing that is known, and no ext4 to mount on /srv: mail/data is as it was",
    );
    assert!(restored == fs::read(other.at("config/volumes/mail.data.img")).expect("read"));
}

#[test]
fn nothing_is_copied_or_replaced_while_its_domu_runs() {
    let host = host();
    let copy = copied(&host).stdout;
    run_web(&host);
    let before = pool(&host);
    refused(
        &host.run(&["volume", "backup", "web/data"]),
        "`domus-dom0 stop web` first",
    );
    refused(
        &feed(&host, &["volume", "restore", "web/data"], &copy),
        "web runs",
    );
    refused(
        &host.run(&["volume", "snapshot", "web/data"]),
        "is a file, which has no snapshots",
    );
    assert!(pool(&host) == before);
    for unknown in ["web/log", "mail/data"] {
        for verb in ["backup", "restore", "snapshot"] {
            let ran = feed(&host, &["volume", verb, unknown], &copy);
            assert_eq!(ran.code, 1, "{ran:?}");
        }
    }
    let no_disk = host.run(&["volume", "backup", "web.data"]);
    assert!(
        no_disk.code == 1 && no_disk.stderr.contains("web/data"),
        "{no_disk:?}"
    );
}

#[test]
fn a_domu_waits_while_its_volume_is_copied() {
    let host = host();
    // Nobody reads the pipe: it goes on for ever.
    let mut copying = host
        .command(&["volume", "backup", "web/data"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let lock = host.at("run/domus/volumes/web.data");
    let is_copied = || {
        let file = File::open(&lock).ok();
        let alone = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        file.is_some_and(|file| rustix::fs::flock(&file, alone).is_err())
    };
    for _ in 0..600 {
        if is_copied() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let start = host.run(&["start", "web"]);
    assert_eq!(start.code, 1, "{start:?}");
    assert!(
        start.stdout.contains("web.data is being copied"),
        "{start:?}"
    );
    assert_eq!(host.run(&["stop", "web"]).code, 0);
    let destroy = host.run(&["volume", "destroy", "--declared", "web.data"]);
    assert!(
        destroy.code == 1 && destroy.stderr.contains("is being copied"),
        "{destroy:?}"
    );
    copying.kill().expect("kill");
    copying.wait().expect("wait");
    assert_eq!(host.run(&["start", "web"]).code, 0);
}

/// Runs the agent where the pool is a file system of 12 MiB.
const SMALL: &str = "set -e; dir=$1; shift
    cp -a $dir $dir.kept; mount -t tmpfs -o size=12m none $dir; cp -a $dir.kept/. $dir
    code=0; \"$@\" || code=$?
    rm -rf $dir.kept; cp -a $dir $dir.after; umount $dir; rm -rf $dir; mv $dir.after $dir; exit $code";

#[test]
fn without_room_for_both_the_volume_is_as_it_was() {
    let host = host();
    let noise = |seed: u8| -> Vec<u8> {
        let bytes = (0..SIZE).map(|at| (at as u8).wrapping_mul(31) ^ seed);
        bytes.map(|byte| byte | 1).collect()
    };
    fs::write(host.at(DATA), noise(1)).expect("written");
    let copy = copied(&host).stdout;
    fs::write(host.at(DATA), noise(2)).expect("written");
    fs::write(host.at("input"), &copy).expect("written");
    let input = host.at("input").display().to_string();
    let agent = host.command(&["volume", "restore", "web/data", "--from", &input]);
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", SMALL, "sh"]);
    unshare.arg(host.at("config/volumes"));
    unshare.arg(agent.get_program()).args(agent.get_args());
    for (key, value) in agent.get_envs() {
        unshare.env(key, value.unwrap_or_default());
    }
    let full = Ran::from(unshare.output().expect("unshare"));
    assert_eq!(full.code, 1, "{full:?}");
    assert!(full.stderr.contains("No space left"), "{full:?}");
    let pool = pool(&host);
    assert_eq!(pool.len(), 1, "nothing is left beside it");
    assert!(pool[0].2 == noise(2));
}
