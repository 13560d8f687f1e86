// SPDX-License-Identifier: GPL-3.0-or-later
//! `explain` on a host: the layer, the commit, and what was done since.

mod common;
mod fleet;

use std::fs;

use fleet::{Fleet, run, text};
use serde_json::json;

#[test]
fn a_file_is_explained_where_it_lies() {
    let fleet = Fleet::new("");
    let motd = fleet.work.join("pservers/alpha/etc/motd");
    fs::create_dir_all(motd.parent().expect("a parent")).expect("made");
    fs::write(&motd, "hello\n").expect("written");
    let commit = fleet.commit("motd: say hello");
    let bare = fleet.host.at("config/repo.git");
    run(
        "git",
        &[
            "-C",
            &text(&bare),
            "fetch",
            "-q",
            &text(&fleet.work),
            "HEAD",
        ],
    );
    run(
        "cp",
        &[
            "-r",
            &text(motd.parent().expect("a parent")),
            &text(&fleet.host.at("run/domus/slice/pservers/alpha")),
        ],
    );
    let boot = json!({"name": "alpha", "commit": commit, "statement": {"id": commit}});
    fleet.host.write("run/domus/boot.json", &boot.to_string());

    let said = fleet.host.run(&["explain", "/etc/motd"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let line = said
        .stdout
        .lines()
        .find(|line| line.starts_with("alpha  file"))
        .expect("a line");
    assert!(
        line.contains("pservers/alpha/etc/motd") && line.ends_with("test"),
        "{line}"
    );
    assert!(line.contains(&commit[..7]), "{line}");
    assert!(said.stdout.ends_with("hides those below it.\n"), "{said:?}");

    fleet.host.write("run/domus/rw/etc/upper/motd", "changed\n");
    let said = fleet.host.run(&["explain", "/etc/motd", "--json"]).json();
    assert_eq!(
        (&said["since"], &said["path"]),
        (&json!("changed"), &json!("motd"))
    );
    let said = fleet.host.run(&["explain", "motd"]);
    assert_eq!(said.code, 1, "{said:?}");
}
