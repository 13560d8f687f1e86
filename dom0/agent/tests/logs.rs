// SPDX-License-Identifier: GPL-3.0-or-later
//! `logs`: what a domU said on its console, by the log that xenconsoled keeps.

mod common;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::Host;
use common::keeper::Keeper;
use serde_json::{Value, json};

const LOG: &str = "var/log/xen/console/guest-web.log";

#[test]
fn what_it_said_is_shown_and_nothing_that_a_terminal_obeys() {
    let host = Host::new(&[("web", "")], "");
    host.write(LOG, "one\r\n\u{1b}[31mtwo\u{1b}[0m\r\nthree\r\nlogin: ");
    let all = host.run(&["logs", "web"]);
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    assert_eq!(all.stdout, "one\ntwo\nthree\nlogin: ");
    let last = host.run(&["logs", "web", "--lines", "2"]);
    assert_eq!(last.stdout, "three\nlogin: ");
}

#[test]
fn a_domu_without_a_log_says_how_one_comes_about() {
    let host = Host::new(&[("web", "")], "");
    let none = host.run(&["logs", "web"]);
    assert_eq!((none.code, none.stdout.as_str()), (1, ""));
    for part in [
        "web has no console log",
        LOG,
        "domus-dom0 start web",
        "--log=guest",
    ] {
        assert!(none.stderr.contains(part), "{none:?}");
    }
    let unknown = host.run(&["logs", "mail"]);
    assert_eq!(
        unknown.stderr,
        "domus-dom0: there is no domU mail on alpha; there are: web\n"
    );
    // One that is gone from the commit, or that nobody declared, may have said something.
    host.write("var/log/xen/console/guest-mail.log", "bye\n");
    assert_eq!(host.run(&["logs", "mail"]).stdout, "bye\n");
}

#[test]
fn what_it_said_last_outlasts_the_next_start() {
    let host = Host::new(&[("web", "")], "");
    host.give_image();
    let web = || host.run(&["status", "--json"]).json()["domus"][0].clone();
    assert_eq!(host.run(&["apply", "--no-take"]).code, 0);
    host.runs(&["test", "web"]);
    assert_eq!(
        (&web()["state"], &web()["last_words"]),
        (&"starting".into(), &Value::Null)
    );
    host.write(
        LOG,
        "booting\r\n\r\n\u{1b}[2JKernel panic - not syncing\r\n",
    );
    host.runs(&["test"]);
    let said = json!(["booting", "Kernel panic - not syncing"]);
    assert_eq!(
        (&web()["state"], &web()["last_words"]),
        (&"pending".into(), &said)
    );
    let status = host.run(&["status"]).stdout;
    let shown = "tried again in 5 s\n  | booting\n  | Kernel panic - not syncing\n";
    assert!(status.replace("4 s", "5 s").contains(shown), "{status}");
    let keeper = Keeper::of(&host);
    keeper.says("web was started as domain 2");
    host.write(LOG, "booting again\n");
    host.runs(&["test", "web"]);
    assert_eq!(web()["last_words"], said);
    let status = host.run(&["status"]).stdout;
    assert!(
        status.contains("web: before it fell it said\n  | booting\n"),
        "{status}"
    );
    assert_eq!(host.run(&["start", "web"]).code, 0);
    assert_eq!(web()["last_words"], Value::Null, "somebody decided");
}

#[test]
fn what_it_says_next_follows_also_when_the_log_is_cut_and_the_domu_starts_anew() {
    let host = Host::new(&[("web", "")], "");
    host.write(LOG, "one\ntwo\n");
    let mut following = host
        .command(&["logs", "-f", "-n", "1", "web"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut lines = BufReader::new(following.stdout.take().expect("stdout")).lines();
    let mut next = || lines.next().expect("a line").expect("read");
    assert_eq!(next(), "two");
    // As xenconsoled has it, and as it is cut.
    let log = OpenOptions::new().append(true).open(host.at(LOG));
    let mut log = log.expect("open");
    log.write_all(b"three\n").expect("written");
    assert_eq!(next(), "three");
    std::fs::write(host.at(LOG), "three\n").expect("cut");
    log.write_all(b"four\n").expect("written");
    assert_eq!(next(), "four");
    std::fs::remove_file(host.at(LOG)).expect("removed");
    host.write(LOG, "five\n");
    assert_eq!(next(), "five");
    following.kill().expect("kill");
    following.wait().expect("wait");
}
