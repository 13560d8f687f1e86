// SPDX-License-Identifier: GPL-3.0-or-later
//! An `apply` that is killed while it takes a commit: the host has the old `/etc` or the new one,
//! whole, and the next `apply` does what this one could not. strace kills it.

mod common;
mod fleet;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use fleet::{Fleet, text};

const MOTD: &str = "pservers/alpha/etc/motd";
/// Calls that change what is mounted: each of them is a point.
const MOUNTS: [&str; 6] = [
    "fsmount",
    "move_mount",
    "open_tree",
    "umount2",
    "mount",
    "fsconfig",
];
/// Calls that change files: as many of them are points as fit into a minute.
const FILES: [&str; 6] = ["rename", "renameat", "mkdir", "openat", "chmod", "unlink"];
const STEP: usize = 12;

/// The host's `apply` with strace around it. Returns whether it came to its end.
fn traced(fleet: &Fleet, arguments: &[&str]) -> bool {
    let apply = fleet.host.command(&["apply"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y"]).args(arguments);
    strace.arg(apply.get_program()).args(apply.get_args());
    for (key, value) in apply.get_envs() {
        strace.env(key, value.unwrap_or_default());
    }
    let quiet = strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().expect("strace runs").success()
}

/// A call: its name, and how many of that name there were up to it.
type Point = (String, usize);

/// The calls of an `apply` that is not killed at which others are.
fn points(fleet: &Fleet) -> Vec<Point> {
    let log = fleet.host.at("strace.log");
    let all = [&MOUNTS[..], &FILES[..]].concat().join(",");
    let trace = format!("trace={all}");
    assert!(traced(fleet, &["-e", &trace, "-o", &text(&log)]));
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let (mut points, mut files) = (Vec::new(), Vec::new());
    let own = text(&fleet.host.at("run/domus"));
    for line in fs::read_to_string(log).expect("a log").lines() {
        let call = line
            .split_whitespace()
            .nth(1)
            .and_then(|call| call.split('(').next());
        let Some(call) = call.filter(|_| line.contains('(')) else {
            continue;
        };
        let number = counted.entry(call.to_owned()).or_default();
        *number += 1;
        let point = (call.to_owned(), *number);
        if MOUNTS.contains(&call) {
            points.push(point);
        } else if line.contains(&own) {
            files.push(point);
        }
    }
    points.extend(files.into_iter().step_by(STEP));
    points
}

#[test]
fn an_apply_that_is_killed_is_done_again() {
    let files = [(MOTD, "first\n"), ("pservers/alpha/etc/issue", "issue\n")];
    let mut fleet = Fleet::with("[config]\nREMOTE\n", &files, "main");
    fleet.host.give_image();
    fleet.host.runs(&["web"]);
    let first = fleet.running();
    fleet.host.boot(&first);
    let read = |fleet: &Fleet, path: &str| fs::read_to_string(fleet.host.seen(path)).ok();
    fs::write(fleet.host.seen("etc/own.conf"), "own\n").expect("written");
    let publish = |number: usize| {
        let motd = format!("{number}\n");
        let hosts = format!("192.0.2.1 name{number}\n");
        fleet.publish(&[(MOTD, Some(&motd)), ("global/hosts", Some(&hosts))]);
        let pulled = fleet.pull();
        assert_eq!(pulled.code, 0, "{pulled:?}");
        motd
    };
    let mut old = publish(0);
    let points = points(&fleet);
    assert!(points.len() > 25, "{points:?}");
    let (mut before, mut after) = (0, 0);
    for (number, (call, count)) in (1..).zip(&points) {
        let new = publish(number);
        let inject = format!("inject={call}:signal=KILL:when={count}");
        let trace = format!("trace={call}");
        traced(&fleet, &["-e", &trace, "-e", &inject, "-o", "/dev/null"]);
        let seen = read(&fleet, "etc/motd").expect("there is always one");
        match seen {
            seen if seen == old => before += 1,
            seen if seen == new => after += 1,
            other => panic!("{call} {count}: {other:?}"),
        }
        let own = read(&fleet, "etc/own.conf");
        assert_eq!(own.as_deref(), Some("own\n"), "{call} {count}");
        let again = fleet.host.run(&["apply"]);
        assert_eq!(
            (again.code, &read(&fleet, "etc/motd")),
            (0, &Some(new.clone())),
            "{again:?}"
        );
        let hosts = read(&fleet, "config/global/hosts");
        assert_eq!(
            hosts,
            Some(format!("192.0.2.1 name{number}\n")),
            "{call} {count}"
        );
        assert_eq!(
            fleet.host.run(&["plan", "--json"]).json()["to"],
            serde_json::Value::Null
        );
        old = new;
    }
    assert!(
        before > 0 && after > 0,
        "{before} before the switch, {after} after it"
    );
    let own = read(&fleet, "etc/own.conf");
    assert_eq!(own.as_deref(), Some("own\n"));
}
