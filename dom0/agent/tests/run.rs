// SPDX-License-Identifier: GPL-3.0-or-later
//! `run` as far as libvirt's test driver goes, which begins anew with each process and whose domains
//! never end. That domUs which crash are started again, and what happens to an agent that is killed,
//! is seen in real boots.

mod common;

use std::process::Command;
use std::time::Instant;

use common::keeper::{Keeper, LIMIT};
use common::{Host, uuid};

#[test]
fn each_is_started_as_soon_as_those_before_it_are_up() {
    let host = Host::new(
        &[
            ("db", ""),
            ("log", ""),
            ("web", "after = [\"db\", \"log\"]\n"),
        ],
        "",
    );
    host.give_image();
    let keeper = Keeper::of(&host);
    keeper.says("web is pending: waits for db, log to be up");
    host.is_up(2);
    host.is_up(3);
    keeper.says("web was started as domain 4");
    assert_eq!(keeper.end(), Some(0));
}

#[test]
fn what_is_missing_is_tried_again_and_holds_up_nobody() {
    let host = Host::new(&[("db", ""), ("web", "after = [\"db\"]\n")], "");
    let keeper = Keeper::of(&host);
    keeper.says("db was not started: image base@1 is not on this host");
    keeper.says("web was not started: image base@1 is not on this host");
    host.give_image();
    keeper.says("db was started as domain");
    host.is_up(2);
    keeper.says("web was started as domain");
}

#[test]
fn what_an_operator_stopped_is_left_and_what_he_starts_is_started() {
    let host = Host::new(
        &[("db", ""), ("mail", "autostart = false\n"), ("web", "")],
        "",
    );
    host.give_image();
    host.write("run/domus/domus/web/held", "");
    let keeper = Keeper::of(&host);
    keeper.says("db was started as domain 2");
    std::fs::remove_file(host.at("run/domus/domus/web/held")).expect("rm");
    host.write("run/domus/domus/mail/asked", "");
    host.store.set("@introduceDomain", "");
    for _ in 0..2 {
        keeper.says(" was started as domain");
    }
}

#[test]
fn it_goes_on_without_xenstore_and_when_that_comes_back() {
    let mut host = Host::new(&[("db", "")], "");
    host.give_image();
    let socket = host.at("xenstored");
    std::fs::remove_file(&socket).expect("rm");
    let keeper = Keeper::of(&host);
    keeper.says("warning: connecting to XenStore");
    host.store = common::xenstore::XenStore::serve(&socket);
    keeper.says("db was started as domain 2");
    assert_eq!(keeper.end(), Some(0));
}

#[test]
fn an_attempt_that_fails_leaves_no_loop_device() {
    let host = Host::new(&[("db", "")], "");
    host.give_image();
    // libvirt refuses it: its UUID is taken.
    host.runs_as(&[("squatter", uuid("db"))]);
    let keeper = Keeper::of(&host);
    keeper.says("db was not started: creating the domain");
    no_loop_device_stays(&host);
}

#[test]
fn what_an_agent_left_that_was_killed_goes_with_the_next() {
    let host = Host::new(&[("db", "autostart = false\n")], "");
    host.write("run/domus/domus/db/config.tar", "a config disk");
    let config = host.at("run/domus/domus/db/config.tar");
    let mut losetup = Command::new("losetup");
    losetup.args(["--find", "--read-only"]).arg(&config);
    assert!(losetup.status().expect("losetup").success());
    // The next attempt wrote its own.
    std::fs::remove_file(&config).expect("rm");
    assert_eq!(host.loops().len(), 1);
    let _keeper = Keeper::of(&host);
    no_loop_device_stays(&host);
}

fn no_loop_device_stays(host: &Host) {
    let begin = Instant::now();
    while !host.loops().is_empty() {
        assert!(begin.elapsed() < LIMIT, "{:?}", host.loops());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
