// SPDX-License-Identifier: GPL-3.0-or-later
//! A pull that is killed at every call that changes a file: the host then boots the old generation
//! or the new one, whole, and the next pull takes what this one could not. strace kills it.

mod common;
mod cut;
mod fleet;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use cut::Point;
use domus_repo::{Export, Judge, Repo};
use domus_system::documents;
use fleet::{Fleet, run, text};
use serde_json::json;

/// Calls that change something on a disk, or make it last: each of them is a point.
const CHANGES: [&str; 9] = [
    "write",
    "pwrite64",
    "fsync",
    "rename",
    "link",
    "unlink",
    "mkdir",
    "ftruncate",
    "chmod",
];
/// As many points as a test of one switch has to have at least; what only reads fills up.
const LEAST: usize = 200;

/// The calls of a whole pull that touch the repository: those that change something, and others.
fn points(fleet: &Fleet, log: &Path) -> (Vec<Point>, Vec<Point>) {
    let trace = ["-e", "trace=%file,%desc", "-o", &text(log)];
    let status = cut::traced(fleet, "pull", &trace);
    assert!(status.success(), "{status}");
    let repository = text(&fleet.host.at("config/repo.git"));
    let calls = cut::calls(log).into_iter();
    let touch = calls.filter(|(_, line)| line.contains(&repository));
    touch
        .map(|(point, _)| point)
        .partition(|(call, _)| CHANGES.iter().any(|change| call.contains(change)))
}

/// Runs a pull that is killed when it comes to this call; whether it came there: libgit2 looks at a
/// file once more or less, as clocks have it.
fn kill(fleet: &Fleet, point: &Point) -> bool {
    let status = cut::kill(fleet, "pull", point);
    let is_killed = status.signal() == Some(9);
    assert!(is_killed || status.success(), "{point:?}: {status}");
    is_killed
}

/// What a boot does with the repository: finds the commit, exports this host's part, proves it.
fn booted(fleet: &Fleet) -> String {
    let repo = Repo::open(&fleet.host.at("config/repo.git")).expect("the repository opens");
    let release = json!({"fleet": "example", "version": "7", "unsigned": true});
    let release = serde_json::from_value(release).expect("a release");
    let judge = Judge::new(&release).expect("a judge");
    let host = "alpha".parse().expect("a name");
    let chosen = judge.choose(&repo, None, |statement| {
        let out = tempfile::tempdir().expect("a directory");
        let commit = &statement.commit.id;
        Export::new(&repo, commit)?.slice(&host, out.path())?;
        documents::read_slice(out.path(), commit, &host)
    });
    let chosen = chosen.expect("there is something to boot");
    assert_eq!(chosen.refused, [""; 0], "what shall run is whole");
    chosen.statement.commit.id
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    run("cp", &["-a", &text(from), &text(to)]);
}

#[test]
fn a_pull_that_is_cut_leaves_the_old_or_the_new() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let old = fleet.running();
    let new = fleet.web("128MiB");
    let (config, kept) = (fleet.host.at("config"), fleet.host.at("kept"));
    copy(&config, &kept);
    let (changes, others) = points(&fleet, &fleet.host.at("strace.log"));
    assert_eq!(fleet.running(), new);
    let mut seen = BTreeSet::new();
    let cut = |point: &Point| {
        copy(&kept, &config);
        let is_killed = kill(&fleet, point);
        let boots = booted(&fleet);
        assert!([&old, &new].contains(&&boots), "{point:?}: {boots}");
        is_killed.then_some(boots)
    };
    for point in &changes {
        let boots = cut(point);
        assert!(boots.is_some(), "{point:?} was not reached");
        seen.insert(boots);
        // What is left behind holds up nobody.
        let again = fleet.pull();
        assert_eq!(again.code, 0, "{point:?}: {again:?}");
        assert_eq!(booted(&fleet), new, "{point:?}");
    }
    assert_eq!(seen.len(), 2, "killed before and after the switch");
    // A few more than are needed: not each is reached.
    let wanted = LEAST.saturating_sub(changes.len()) + 10;
    let step = (others.len() / wanted).max(1);
    let others = others.iter().step_by(step);
    let all = changes.len() + others.filter(|point| cut(point).is_some()).count();
    assert!(all >= LEAST, "{all} points");
}
