// SPDX-License-Identifier: GPL-3.0-or-later
//! `pull`, `generations` and `rollback` with real repositories, and a real SSH server on loopback.

mod common;
mod fleet;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::sshd::{Server, keygen};
use fleet::{Fleet, run, server_of, text};
use serde_json::{Value, json};

#[test]
fn commits_are_taken_one_after_the_other() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let first = fleet.running();
    let nothing = fleet.pull();
    assert_eq!(
        (nothing.code, nothing.stderr.as_str()),
        (0, ""),
        "{nothing:?}"
    );
    assert!(nothing.stdout.ends_with("nothing new\n"), "{nothing:?}");

    let second = fleet.web("128MiB");
    let pulled = fleet.host.run(&["pull", "--json"]).json();
    assert_eq!(
        (&pulled["from"], &pulled["to"]["commit"]),
        (&json!(first), &json!(second))
    );
    assert_eq!(pulled["generation"], 2);
    assert_eq!(pulled["steps"][0]["what"], "memory 96MiB -> 128MiB");
    assert_eq!(fleet.running(), second);
    assert_eq!(fleet.status()["next"], json!(second));
    let table = fleet.host.run(&["generations"]).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[1].contains("is booted next            web: 128MiB"),
        "{table}"
    );
    assert!(
        lines[2].contains("runs until the next boot  first"),
        "{table}"
    );

    // Several at once are one generation.
    fleet.web("160MiB");
    let fourth = fleet.web("192MiB");
    assert!(fleet.pull().stdout.contains("generation 3"));
    assert_eq!(fleet.running(), fourth);
}

#[test]
fn what_is_refused_changes_nothing() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let first = fleet.running();
    let refused = |code: i32, why: &str| {
        let pulled = fleet.pull();
        assert_eq!(pulled.code, code, "{pulled:?}");
        assert!(pulled.stderr.contains(why), "{why}: {pulled:?}");
        assert_eq!(fleet.running(), first);
        let status = fleet.status();
        assert!(
            status["pull_failure"]
                .as_str()
                .is_some_and(|text| text.contains(why)),
            "{status}"
        );
        assert_eq!(status["next"], Value::Null);
    };
    fleet.web("1MiB");
    refused(1, "does not pass `domus check`");
    fleet.git(&["rm", "-rq", "pservers/alpha"]);
    fleet.commit("no alpha");
    fleet.push();
    refused(1, "no pservers/alpha/");
    // Another history, and the same one rewound.
    fleet.git(&["checkout", "-q", "--orphan", "other"]);
    fleet.git(&["reset", "-q", "--hard"]);
    run(
        "cp",
        &[
            "-rT",
            &text(&fleet.host.at("run/domus/slice")),
            &text(&fleet.work),
        ],
    );
    fleet.commit("another history");
    fleet.push();
    refused(3, "does not come after");
    let server = server_of(&fleet);
    run(
        "git",
        &["-C", &server, "update-ref", "-d", "refs/heads/main"],
    );
    refused(1, "there is no such branch");
    fs::remove_dir_all(fleet.host.at("server.git")).expect("removed");
    refused(1, "fetching main of file://");

    // Once it is there again, it is taken.
    fleet.git(&["checkout", "-q", "-f", "main"]);
    fleet.git(&["reset", "-q", "--hard", &first]);
    fleet.git(&[
        "clone",
        "-q",
        "--bare",
        ".",
        &text(&fleet.host.at("server.git")),
    ]);
    let next = fleet.web("128MiB");
    assert_eq!(fleet.pull().code, 0);
    assert_eq!(fleet.running(), next);
    assert_eq!(fleet.status()["pull_failure"], Value::Null);
}

#[test]
fn a_newer_key_does_not_stop_an_older_host() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let domus = fleet.work.join("domus.toml");
    let text = fs::read_to_string(&domus).expect("read");
    fs::write(&domus, format!("{text}[newer]\nx = 1\n")).expect("written");
    let next = fleet.web("128MiB");
    let pulled = fleet.pull();
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(
        pulled.stderr.contains("unknown key \"newer\""),
        "{pulled:?}"
    );
    assert_eq!(fleet.running(), next);
    // By its commit, too.
    let back = fleet.host.run(&["rollback", "1"]);
    assert_eq!(back.code, 0, "{back:?}");
    let forth = fleet.host.run(&["rollback", &next[..12]]);
    assert_eq!(forth.code, 0, "{forth:?}");
    assert_eq!(fleet.running(), next);
}

#[test]
fn who_goes_back_stays_there_until_there_is_something_newer() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let first = fleet.running();
    assert_eq!(
        fleet.host.run(&["rollback"]).code,
        1,
        "there is nothing before"
    );
    let second = fleet.web("128MiB");
    fleet.pull();
    let back = fleet.host.run(&["rollback"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(back.stdout.contains("generation 1"), "{back:?}");
    assert_eq!(fleet.running(), first);
    let held = fleet.pull();
    assert!(held.code == 0 && held.stdout.contains("held"), "{held:?}");
    assert_eq!(fleet.running(), first);
    assert_eq!(
        fleet.host.run(&["rollback", "2"]).code,
        0,
        "and forth again"
    );
    assert_eq!(fleet.running(), second);
    fleet.host.run(&["rollback", "1"]);
    let third = fleet.web("160MiB");
    assert_eq!(fleet.pull().code, 0);
    assert_eq!(fleet.running(), third);
    assert_eq!(fleet.host.run(&["rollback", "9"]).code, 1);
}

#[test]
fn a_timer_waits_longer_after_each_failure() {
    let fleet = Fleet::new("[config]\nREMOTE\nevery = \"1h\"\n");
    fs::rename(fleet.host.at("server.git"), fleet.host.at("away.git")).expect("moved");
    assert_eq!(fleet.host.run(&["pull", "--timer"]).code, 1);
    fs::rename(fleet.host.at("away.git"), fleet.host.at("server.git")).expect("moved");
    let first = fleet.running();
    fleet.web("128MiB");
    let early = fleet.host.run(&["pull", "--timer"]);
    assert_eq!((early.code, early.stdout.as_str()), (0, ""), "{early:?}");
    assert_eq!(fleet.running(), first);
    // People are not made to wait.
    assert_eq!(fleet.pull().code, 0);
    assert_ne!(fleet.running(), first);
}

#[test]
fn without_a_remote_or_by_a_release_that_trusts_nobody_nothing_is_taken() {
    let fleet = Fleet::new("");
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("no [config]"), "{refused:?}");
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let boot = fs::read_to_string(fleet.host.at("run/domus/boot.json")).expect("read");
    fleet
        .host
        .write("run/domus/boot.json", &boot.replace("true", "false"));
    fleet.web("128MiB");
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("does not say whose commits"),
        "{refused:?}"
    );
}

#[test]
fn a_server_is_known_by_its_key_and_a_host_by_its_own() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let host = &fleet.host;
    fs::create_dir_all(host.at("config/state/ssh")).expect("made");
    let own = text(&host.at("config/state/ssh/ssh_host_ed25519_key"));
    keygen("ed25519", &own);
    let public = fs::read_to_string(format!("{own}.pub")).expect("read");
    let authorized = format!(
        "command=\"git shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" {}\n",
        public.trim()
    );
    let server = Server::start(host.root(), &authorized);
    fs::set_permissions(host.root(), fs::Permissions::from_mode(0o755)).expect("changed");
    let remote = |key: &str| {
        let url = format!(
            "ssh://root@127.0.0.1:{}{}",
            server.port,
            host.at("server.git").display()
        );
        let config = format!(
            "[config]\nremote = \"{url}\"\nfollow = \"main\"\nhost-key = \"{}\"\n",
            key.trim()
        );
        host.write(
            "run/domus/slice/domus.toml",
            &format!("version = 1\nfleet = \"example\"\n{config}"),
        );
    };
    let next = fleet.web("128MiB");
    let first = fleet.running();

    remote(&public);
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("another host key"), "{refused:?}");
    remote(&server.key);
    let stranger = text(&host.at("stranger"));
    keygen("ed25519", &stranger);
    fs::rename(&own, format!("{own}.aside")).expect("moved");
    fs::copy(&stranger, &own).expect("copied");
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("does not know this host's key"),
        "{refused:?}"
    );
    assert_eq!(fleet.running(), first);
    fs::rename(format!("{own}.aside"), &own).expect("moved");
    let pulled = fleet.pull();
    let log = fs::read_to_string(host.at("sshd.log")).expect("a log");
    assert_eq!(pulled.code, 0, "{pulled:?}\n{log}");
    assert_eq!(fleet.running(), next);
}
