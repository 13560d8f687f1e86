// SPDX-License-Identifier: GPL-3.0-or-later
//! Domains that nobody declared: reported, and destroyed where host.toml says so.

mod common;
mod fleet;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::keeper::Keeper;
use common::{Host, uuid};
use fleet::Fleet;
use serde_json::json;
use uuid::Uuid;

const DESTROY: &str = "[domUs]\nstrays = \"destroy\"\n";

/// A host that shall run `web`, on which others run as well: `foreign`, `incoming` with the UUID of
/// `web`, `old` that was started from an earlier commit; and by XenStore `by-xl` and `unnamed`.
fn host(settings: &str) -> Host {
    let mut host = Host::new(&[("web", "")], settings);
    host.runs_as(&[
        ("incoming", uuid("web")),
        ("foreign", Uuid::from_u128(1)),
        ("old", uuid("old")),
    ]);
    host.store.set("/local/domain/0/name", "Domain-0");
    host.store.set("/local/domain/7/name", "by-xl");
    let vm = format!("/vm/{}", Uuid::from_u128(7));
    host.store.set("/local/domain/7/vm", &vm);
    host.store.set("/local/domain/8/name", "unnamed");
    let record = json!({"commit": common::COMMIT}).to_string();
    host.write("run/domus/domus/old/record.json", &record);
    let log = host.at("xl.log");
    host.write(
        "bin/xl",
        &format!("#!/bin/sh\necho \"$*\" >>{}\n", log.display()),
    );
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(host.at("bin/xl"), executable).expect("chmod");
    host.programs_in(&host.at("bin"));
    host
}

#[test]
fn by_default_they_are_named_and_nobody_touches_them() {
    let host = host("");
    let all = "by-xl, foreign, incoming, old, unnamed";
    let line = format!("strays: {all} run here and nobody declared them; left alone\n");
    let status = host.run(&["status"]);
    assert!(status.stdout.contains(&line), "{status:?}");
    let keeper = Keeper::of(&host);
    let mut heard = keeper.says("web is failed");
    heard.extend(keeper.says("web was not started: image base@1"));
    assert_eq!(keeper.end(), Some(0));
    assert!(
        !heard.iter().any(|line| line.contains("destroy")),
        "{heard:#?}"
    );
    assert!(!host.at("xl.log").exists());
}

#[test]
fn where_the_host_says_so_those_are_destroyed_that_are_nobodys() {
    let host = host(DESTROY);
    let shown = "\
strays: by-xl, foreign run here and nobody declared them; `domus-dom0 run` destroys what is nobody's
strays: incoming runs here and nobody declared it; left alone: it has the UUID of web
strays: old runs here and nobody declared it; left alone: it was started from an earlier commit, \
and `domus-dom0 apply` shuts it down
strays: unnamed runs here and nobody declared it; left alone: nobody can tell its UUID
";
    let status = host.run(&["status"]);
    assert!(status.stdout.contains(shown), "{status:?}");
    assert!(!host.at("xl.log").exists(), "to look is harmless");
    let keeper = Keeper::of(&host);
    keeper.says("by-xl, domain 7, was destroyed: nobody declared it");
    let between = keeper.says("foreign, domain 2, was destroyed: nobody declared it");
    let rest = keeper.says("web was not started: image base@1");
    // Those two are still there for whoever looks again: nothing here is really destroyed.
    let is_one_of = |line: &str| {
        ["by-xl, domain 7,", "foreign, domain 2,"]
            .iter()
            .any(|it| line.contains(it))
    };
    let others = |line: &&String| line.contains("destroyed:") && !is_one_of(line);
    assert_eq!(between.iter().chain(&rest).find(others), None);
    assert_eq!(keeper.end(), Some(0));
    let log = fs::read_to_string(host.at("xl.log")).expect("a log");
    assert!(log.lines().all(|line| line == "destroy 7"), "{log}");
}

#[test]
fn nobody_is_destroyed_while_another_commit_is_about_to_be_taken() {
    let fleet = Fleet::with("[config]\nREMOTE\n", &[], "main");
    let host = &fleet.host;
    let document = fs::read_to_string(fleet.work.join("pservers/alpha/host.toml")).expect("read");
    fleet.put(
        "pservers/alpha/host.toml",
        &format!("{document}\n{DESTROY}"),
    );
    fleet.commit("strays");
    fleet.push();
    let strays = || host.run(&["status"]).stdout;
    assert!(
        strays().contains("test runs here and nobody declared it; left alone\n"),
        "{}",
        strays()
    );
    assert_eq!(fleet.pull().code, 0);
    // As if it had been booted.
    let text = format!("{document}\n{DESTROY}");
    host.write("run/domus/slice/pservers/alpha/host.toml", &text);
    assert!(
        strays().contains("waits, and may declare it"),
        "{}",
        strays()
    );
    let boot = fs::read_to_string(host.at("run/domus/boot.json")).expect("read");
    let commits: Vec<String> = ["HEAD~1", "HEAD"]
        .map(|at| fleet.git(&["rev-parse", at]))
        .into();
    host.write(
        "run/domus/boot.json",
        &boot.replace(&commits[0], &commits[1]),
    );
    assert!(
        strays().contains("`domus-dom0 run` destroys"),
        "{}",
        strays()
    );
}
