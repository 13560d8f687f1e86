// SPDX-License-Identifier: GPL-3.0-or-later
//! An `apply` that is killed while it takes a commit: the host has the old `/etc` or the new one,
//! whole, and the next `apply` does what this one could not. strace kills it.

mod common;
mod cut;
mod fleet;

use std::fs;

use cut::Point;
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

/// The calls of an `apply` that is not killed at which others are.
fn points(fleet: &Fleet) -> Vec<Point> {
    let log = fleet.host.at("strace.log");
    let all = [&MOUNTS[..], &FILES[..]].concat().join(",");
    let trace = format!("trace={all}");
    let status = cut::traced(fleet, "apply", &["-e", &trace, "-o", &text(&log)]);
    assert!(status.success(), "{status}");
    let own = text(&fleet.host.at("run/domus"));
    let (mounts, others): (Vec<_>, Vec<_>) = cut::calls(&log)
        .into_iter()
        .partition(|((call, _), _)| MOUNTS.contains(&call.as_str()));
    let files = others.into_iter().filter(|(_, line)| line.contains(&own));
    let all = mounts.into_iter().chain(files.step_by(STEP));
    all.map(|(point, _)| point).collect()
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
        cut::kill(&fleet, "apply", &(call.clone(), *count));
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
