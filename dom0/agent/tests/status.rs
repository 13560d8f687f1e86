// SPDX-License-Identifier: GPL-3.0-or-later
//! `status`, `plan` and `events` of a host whose libvirt runs the domain `test`.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{COMMIT, Host};
use serde_json::{Value, json};

fn host() -> Host {
    let host = Host::new(
        &[
            ("db", ""),
            ("mail", ""),
            ("test", ""),
            ("web", "after = [\"db\"]\n"),
        ],
        "",
    );
    host.failed("mail", "image base@1 is not on this host");
    host.write("run/domus/domus/web/held", "");
    host.store.set("/local/domain/1/name", "test");
    host.store.set("/local/domain/0/name", "Domain-0");
    host.store.set("/local/domain/9/name", "foreign");
    host
}

fn states(domus: &Value) -> Vec<(&str, &str)> {
    let domus = domus.as_array().expect("domus").iter();
    let text = |value: &'_ Value| value.as_str().map(|text| text.to_owned().leak() as &str);
    domus
        .filter_map(|domu| Some((text(&domu["name"])?, text(&domu["state"])?)))
        .collect()
}

#[test]
fn status_joins_what_should_run_with_what_was_seen() {
    let host = host();
    let before = host.run(&["status", "--json"]);
    assert_eq!((before.code, before.stderr.as_str()), (0, ""), "{before:?}");
    let before = before.json();
    assert_eq!(before["host"], "alpha");
    assert_eq!(before["commit"], COMMIT);
    assert_eq!(before["release"], "7 (3f9a0b1c2d3e)");
    assert_eq!(before["strays"], json!(["foreign"]));
    let expected = [
        ("db", "pending"),
        ("mail", "failed"),
        ("test", "starting"),
        ("web", "stopped"),
    ];
    assert_eq!(states(&before["domus"]), expected);

    host.report("test");
    let after = host.run(&["status"]);
    // The rest of that line is another every second.
    let lines = after.stdout.lines();
    let lines = lines.map(|line| line.split(" in ").next().expect("a part").to_owned() + "\n");
    let stdout: String = lines.collect();
    let expected = "\
alpha   release 7 (3f9a0b1c2d3e)   commit 8c1d02e   signed by nobody
boot unverified   root unverified   clock not synchronised

domU  state    kind  memory  vcpus  MAC  image   commit   root
db    pending  pvh   96 MiB  1      -    base@1  -        -
mail  failed   pvh   96 MiB  1      -    base@1  -        -
test  up       pv    88 MiB  2      -    base@1  8c1d02e  read-only
web   stopped  pvh   96 MiB  1      -    base@1  -        -

mail: image base@1 is not on this host; tried again
web: stopped by hand; `domus-dom0 start web` starts it
strays: foreign runs here and nobody declared it; left alone
";
    assert_eq!((after.code, stdout.as_str()), (0, expected));
}

#[test]
fn a_report_that_is_none_is_a_reason_and_never_shown() {
    let host = Host::new(&[("test", "")], "");
    host.store
        .set("/local/domain/1/data/domus/report", "\u{1b}[2J");
    let status = host.run(&["status", "--json"]).json();
    assert_eq!(status["domus"][0]["state"], "degraded");
    assert_eq!(
        status["domus"][0]["reason"],
        "its report cannot be read (column 1)"
    );
}

#[test]
fn without_xenstore_status_still_says_what_libvirt_knows() {
    let host = Host::new(&[], "");
    std::fs::remove_file(host.at("xenstored")).expect("rm");
    let status = host.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(
        status.stderr.contains("warning: connecting to XenStore"),
        "{status:?}"
    );
    assert!(
        status
            .stdout
            .ends_with("strays: test runs here and nobody declared it; left alone\n")
    );
}

/// smartctl(8) of a machine with a disk that is well, one that fails, a stick, and one that sleeps.
const SMARTCTL: &str = r#"#!/bin/sh
for disk; do :; done
case $disk in
*/nvme0n1) echo '{"model_name": "MZQL2", "smart_status": {"passed": true}, "temperature":
    {"current": 22}, "nvme_smart_health_information_log": {"critical_warning": 0}}' ;;
*/sda) echo '{"model_name": "HDS72", "serial_number": "MSK4", "smart_status": {"passed": false}}'
    exit 8 ;;
*/sdb) echo '{"smartctl": {"messages": [{"string": "Unknown USB bridge", "severity": "error"}]}}'
    exit 1 ;;
*/sdc) exit 3 ;;
esac
"#;

#[test]
fn disks_say_how_they_are_or_why_they_cannot() {
    let mut host = Host::new(&[], "[storage]\ndisks = [\"ata-one\"]\n");
    host.write("bin/smartctl", SMARTCTL);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(host.at("bin/smartctl"), executable).expect("chmod");
    host.programs_in(&host.at("bin"));
    for device in ["sdc", "sdb", "sda", "nvme0n1", "vda"] {
        host.write(&format!("sys/class/block/{device}/size"), "2048\n");
        host.write(
            &format!("sys/class/block/{device}/device/model"),
            "cut off\n",
        );
    }
    host.write("dev/sda", "");
    std::fs::create_dir_all(host.at("dev/disk/by-id")).expect("mkdir");
    symlink("../../sda", host.at("dev/disk/by-id/ata-one")).expect("a link");

    let status = host.run(&["status"]);
    assert_eq!((status.code, status.stderr.as_str()), (0, ""), "{status:?}");
    let expected = "
disk     model    serial  °C  health
nvme0n1  MZQL2    -       22  healthy
sda      HDS72    MSK4    -   NOT HEALTHY
sdb      cut off  -       -   not read
sdc      cut off  -       -   not read
vda      cut off  -       -   no SMART

sda: SMART says that it fails: replace it
sdb: Unknown USB bridge
sdc: it sleeps, and is not woken for this

alpha: storage waiting; ";
    assert!(status.stdout.contains(expected), "{status:?}");
    let disks = host.run(&["status", "--json"]).json()["disks"].take();
    let expected = json!({
        "device": "sda", "named": "ata-one", "model": "HDS72", "serial": "MSK4", "size": 1_048_576,
        "temperature": null, "health": "unhealthy",
        "reasons": ["SMART says that it fails: replace it"], "remarks": [],
    });
    assert_eq!(disks[1], expected);
    assert_eq!(disks[0]["health"], "healthy");
    assert_eq!(disks[2]["health"], "not-read");
    assert_eq!(disks[4]["health"], "no-smart");
    assert_eq!(disks[4]["reasons"], json!([]));
}

#[test]
fn wait_ends_as_soon_as_nothing_will_change() {
    let host = Host::new(&[("test", "")], "");
    let begin = Instant::now();
    let waiting = host
        .command(&["status", "--wait", "60", "--json"])
        .stdout(Stdio::piped())
        .spawn();
    std::thread::sleep(Duration::from_millis(500));
    host.report("test");
    let output = waiting.expect("spawn").wait_with_output().expect("wait");
    assert!(begin.elapsed() < Duration::from_secs(30));
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(states(&status["domus"]), [("test", "up")]);

    let never = Host::new(&[("web", "")], "")
        .run(&["status", "--wait", "1", "--json"])
        .json();
    assert_eq!(states(&never["domus"]), [("web", "pending")]);
}

#[test]
fn list_has_a_line_for_each_domu_and_stray() {
    let host = host();
    host.report("test");
    host.run(&["apply", "test"]);
    let listed = host.run(&["list"]);
    let expected = "\
domU     state    domain  memory  vcpus  up for
db       pending  -       96 MiB  1      -
mail     failed   -       96 MiB  1      -
test     up       1       88 MiB  2      0 s
web      stopped  -       96 MiB  1      -
foreign  stray    9       -       -      -
";
    let seconds = listed.stdout.replace("1 s", "0 s").replace("2 s", "0 s");
    assert_eq!((listed.code, seconds.as_str()), (0, expected), "{listed:?}");
    let listed = host.run(&["list", "--json"]).json();
    assert_eq!(
        (&listed[2]["domain"], &listed[4]["state"]),
        (&json!(1), &json!("stray"))
    );
}

#[test]
fn plan_says_what_apply_would_do_and_does_nothing() {
    let host = host();
    let plan = host.run(&["plan"]);
    let expected = "\
alpha   commit 8c1d02e
  start   db, mail
  keep    test
  left    web
strays: foreign runs here and nobody declared it; left alone
";
    assert_eq!((plan.code, plan.stdout.as_str()), (2, expected), "{plan:?}");
    assert!(
        plan.stderr
            .contains("warning: asking Xen for dom0's memory"),
        "{plan:?}"
    );
    let plan = host.run(&["plan", "--json"]).json();
    let expected = json!({
        "host": "alpha", "commit": COMMIT, "dom0_memory": null, "start": [["db", "mail"]],
        "keep": ["test"], "left": ["web"], "strays": ["foreign"], "orphans": [], "to": null, "steps": [],
        "conflicts": [], "run": [], "stop": [], "restart": [], "refresh": [], "waiting": [],
    });
    assert_eq!(plan, expected);
    assert!(!host.at("run/domus/apply.lock").exists());

    let done = Host::new(&[("test", "")], "").run(&["plan"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stdout.ends_with("  keep    test\nNothing to do.\n"),
        "{done:?}"
    );
}

#[test]
fn events_begin_with_the_boot_and_follow_every_change() {
    let host = host();
    let mut child = host
        .command(&["events"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut next = || -> Value {
        serde_json::from_str(&lines.next().expect("a line").expect("read")).expect("JSON")
    };
    let boot = next();
    assert_eq!(
        (&boot["say"], &boot["record"]["commit"]),
        (&json!("boot"), &json!(COMMIT))
    );
    let first = next();
    assert_eq!(first["say"], "status");
    let expected = [
        ("db", "pending"),
        ("mail", "failed"),
        ("test", "starting"),
        ("web", "stopped"),
    ];
    assert_eq!(states(&first["domus"]), expected);
    std::thread::sleep(Duration::from_millis(700));
    host.report("test");
    // `mail` is tried again in fewer seconds each time, and nothing else was said in between.
    let second = std::iter::from_fn(|| Some(next())).find(|it| states(&it["domus"]) != expected);
    let second = second.expect("another state");
    assert_eq!(states(&second["domus"])[2], ("test", "up"));
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn what_cannot_be_understood_is_an_error() {
    let host = host();
    let usage = host.run(&["no-such-command"]);
    assert_eq!(usage.code, 1, "{usage:?}");
    assert_eq!(host.run(&["--help"]).code, 0);
    assert!(
        host.run(&["completions", "bash"])
            .stdout
            .contains("domus-dom0")
    );
    host.write(
        "run/domus/slice/pservers/alpha/domUs/web.toml",
        "version = 1\nimag = \"base@1\"\n",
    );
    let broken = host.run(&["status"]);
    assert_eq!((broken.code, broken.stdout.as_str()), (1, ""));
    assert!(
        broken
            .stderr
            .contains("does not pass `domus check`:\n  pservers/alpha/domUs/web.toml")
    );
    std::fs::remove_file(host.at("run/domus/boot.json")).expect("rm");
    assert!(
        host.run(&["plan"])
            .stderr
            .contains("boot.json, which domus-boot writes: No such file")
    );
}
