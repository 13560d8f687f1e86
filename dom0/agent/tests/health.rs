// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether a host is healthy with what it took, and what it goes back to if not.

mod common;
mod fleet;
mod taken;

use std::fs;

use fleet::text;
use serde_json::Value;
use taken::{JUDGE, MOTD, live};

#[test]
fn what_is_taken_and_not_healthy_in_time_is_left_without_a_reboot() {
    let fleet = live("LIVE");
    let first = fleet.running();
    let judge = || fleet.host.run(&["health", "--judge"]);
    fleet.host.report("web");
    assert_eq!(judge().code, 0);
    assert!(fleet.host.at("run/domus/judged").exists());
    assert_eq!(fleet.status()["standing"], Value::Null);

    let health = "\n[health]\ndeadline = \"10s\"\ncommands = [\"test -e ";
    let wish = fleet.host.at("wish").display().to_string();
    let host = text(&fleet.work.join("pservers/alpha/host.toml"));
    let host = fs::read_to_string(host).expect("read") + health + &wish + "\"]\n";
    let files = [
        ("pservers/alpha/host.toml", Some(host.as_str())),
        (MOTD, Some("new\n")),
    ];
    let second = fleet.publish(&files);
    fleet.clean(&["pull"]);
    assert!(fleet.whole_log().contains(&JUDGE.to_owned()));
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("new\n"));
    let standing = "healthy, and still to be booted";
    fs::remove_file(fleet.host.at("run/domus/judged")).expect("a new boot");
    let on_trial = "on trial: it has 10s to get healthy, or the host goes back";
    assert_eq!(fleet.status()["standing"], on_trial);
    let health = fleet.host.run(&["health"]);
    assert_eq!(health.code, 1, "{health:?}");
    assert!(
        health.stdout.contains("NOT HEALTHY   on trial"),
        "{health:?}"
    );
    // Healthy now, but not known to boot: it does not become good.
    fleet.host.write("wish", "");
    assert_eq!(judge().code, 0);
    assert_eq!(fleet.status()["standing"], standing);
    fs::remove_file(&wish).expect("no more");

    let left = judge();
    assert_eq!(left.code, 1, "{left:?}");
    assert!(left.stdout.contains("WENT BACK from"), "{left:?}");
    assert!(
        left.stdout.contains("without a reboot: not so: `test -e"),
        "{left:?}"
    );
    assert_eq!(fleet.running(), first);
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("old\n"));
    let status = fleet.status();
    assert_eq!(status["commit"], first);
    let standing = status["standing"].as_str().expect("said");
    assert!(
        standing.contains(&second[..7]) && standing.contains("test -e"),
        "{standing}"
    );
    // It is not taken again by itself; a newer one is.
    let held = fleet.clean(&["pull"]);
    assert!(held.stdout.contains("held:"), "{held:?}");
    let third = fleet.publish(&[(
        "pservers/alpha/host.toml",
        Some(&host.replace("test -e", "true")),
    )]);
    fleet.clean(&["pull"]);
    assert_eq!(fleet.running(), third);
}

#[test]
fn where_there_is_nothing_to_go_back_to_the_host_stays() {
    let fleet = live("LIVE");
    let first = fleet.running();
    let bad = "[health]\ndeadline = \"10s\"\ncommands = [\"false\"]\n";
    let slice = fleet.host.at("run/domus/slice/pservers/alpha/host.toml");
    let host = fs::read_to_string(&slice).expect("read") + bad;
    fs::write(&slice, host).expect("written");
    fleet.host.report("web");
    let stays = fleet.host.run(&["health", "--judge"]);
    assert_eq!(stays.code, 1, "{stays:?}");
    assert!(stays.stdout.contains("NOT HEALTHY\n"), "{stays:?}");
    assert_eq!(fleet.running(), first);
    assert!(!fleet.host.at("config/state/trial.json").exists());
}
