// SPDX-License-Identifier: GPL-3.0-or-later
//! A pull that is killed at every call that changes a file: the host then boots the old generation
//! or the new one, whole, and the next pull takes what this one could not. strace kills it.

mod common;
mod cut;
mod fleet;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cut::{Call, Point};
use domus_repo::{Export, Judge, Repo};
use domus_system::documents;
use fleet::{Fleet, run, text};
use serde_json::json;

/// Calls that change something on a disk, or make it last, where they succeed.
const CHANGES: [&str; 24] = [
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "copy_file_range",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "ftruncate",
    "fallocate",
    "chmod",
    "fchmod",
    "fchmodat",
];
/// As many of them as a test of one switch has to have at least.
const LEAST: usize = 200;
/// After how many parts of a pack a pull comes that is not killed.
const PARTS: usize = 8;
/// How many files the commit brings, so that there are that many.
const FILES: usize = 72;

/// Whether a call of a pull changes the host's config partition.
fn changes(fleet: &Fleet, ((call, _), line): &Call) -> bool {
    let is_there = line.contains(&text(&fleet.host.at("config")));
    let makes = call.starts_with("open") && (line.contains("O_CREAT") || line.contains("O_TRUNC"));
    is_there && !line.contains(" = -1 ") && (makes || CHANGES.contains(&call.as_str()))
}

/// Pulls, and says which of its calls change something.
fn points(fleet: &Fleet) -> Vec<Point> {
    let log = fleet.host.at("strace.log");
    let trace = ["-e", "trace=%file,%desc", "-o", &text(&log)];
    let status = cut::traced(fleet, "pull", &trace);
    assert!(status.success(), "{status}");
    let calls = cut::calls(&log).into_iter();
    let changing = calls.filter(|call| changes(fleet, call));
    changing.map(|(point, _)| point).collect()
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
    for generation in repo.generations().expect("generations") {
        let out = tempfile::tempdir().expect("a directory");
        let mut export = Export::new(&repo, &generation.commit.id).expect("a commit");
        export.slice(&host, out.path()).expect("each is whole");
    }
    chosen.statement.commit.id
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    run("cp", &["-a", &text(from), &text(to)]);
}

/// A fleet with a commit that its host does not have yet: the old one and the new one.
fn with_news() -> (Fleet, String, String) {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let old = fleet.running();
    for number in 0..FILES {
        // Of all that it brings, a boot exports what is the host's.
        let whose = if number % 8 == 0 {
            "vservers/web/etc"
        } else {
            "docs"
        };
        let path = format!("{whose}/app/{number}.conf");
        fleet.put(&path, &format!("number = {number}\n"));
    }
    let new = fleet.web("128MiB");
    (fleet, old, new)
}

/// Kills a pull at each call that changes something, or at every so-manieth: whatever is left boots
/// as the old commit or the new one, and the next pull takes that. How many there were.
fn cut_at_every(step: usize, fleet: &Fleet, old: &str, new: &str) -> usize {
    let (config, kept) = (fleet.host.at("config"), fleet.host.at("kept"));
    copy(&config, &kept);
    let points = points(fleet);
    assert_eq!(fleet.running(), new);
    eprintln!("{} calls change something", points.len());
    let (mut seen, mut count, mut parts) = (BTreeSet::new(), 0, 0);
    // From the end: what comes after the switch is short.
    for point in points.iter().rev().step_by(step) {
        copy(&kept, &config);
        // libgit2 looks at a file once more or less, as clocks have it: then this is another call.
        let killed = cut::kill(fleet, "pull", point);
        count += usize::from(killed.is_some_and(|call| changes(fleet, &call)));
        let boots = booted(fleet);
        assert!([old, new].contains(&boots.as_str()), "{point:?}: {boots}");
        seen.insert(boots);
        // Of a pack that was cut off only the length differs, and each time takes a while.
        parts += usize::from(point.0 == "pwrite64");
        if point.0 == "pwrite64" && parts % PARTS != 0 {
            continue;
        }
        // What is left behind holds up nobody.
        let again = fleet.pull();
        assert_eq!(again.code, 0, "{point:?}: {again:?}");
        assert_eq!(booted(fleet), new, "{point:?}");
    }
    assert_eq!(seen.len(), 2, "killed before and after the switch");
    eprintln!("{count} of them were killed");
    count
}

#[test]
fn a_pull_that_is_cut_leaves_the_old_or_the_new() {
    let (fleet, old, new) = with_news();
    let count = cut_at_every(1, &fleet, &old, &new);
    assert!(count >= LEAST, "{count} calls change something");
}

#[test]
fn one_that_packs_anew_leaves_each_generation_whole() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    for memory in 100..109 {
        fleet.web(&format!("{memory}MiB"));
        assert_eq!(fleet.pull().code, 0);
    }
    let old = fleet.running();
    let new = fleet.web("128MiB");
    let packs = |fleet: &Fleet| {
        let packs = fs::read_dir(fleet.host.at("config/repo.git/objects/pack")).expect("packs");
        let names = packs.map(|pack| pack.expect("a pack").file_name());
        let is_pack = |name: &std::ffi::OsString| text(Path::new(name)).ends_with(".pack");
        names.filter(is_pack).count()
    };
    assert_eq!(packs(&fleet), 10);
    // The pull behind it is cut at each call above: a sample, and all of them in `make soak`.
    let step = std::env::var_os("DOMUS_CUTS").map_or(3, |_| 1);
    cut_at_every(step, &fleet, &old, &new);
    assert_eq!(
        packs(&fleet),
        3,
        "what it came with, what was packed anew, what was pulled"
    );
    let repository = text(&fleet.host.at("config/repo.git"));
    run("git", &["-C", &repository, "fsck", "--strict"]);
}
