// SPDX-License-Identifier: GPL-3.0-or-later
//! Days on which much happens at once or over and over, as far as libvirt's test driver goes.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::keeper::{Keeper, LIMIT};
use common::{Host, Ran};
use domus_model::reconcile::{PATIENCE, Record};
use serde_json::json;

const DISK: &str = "[[disk]]\nname = \"data\"\nsize = \"8MiB\"\nmount = \"/srv\"\n";

fn root_only() {
    assert!(
        rustix::process::geteuid().is_root(),
        "loop devices need root: run the tests so"
    );
}

/// What a process has: KiB of memory, and open files.
fn has(id: u32) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib = kib.and_then(|kib| kib.parse().ok()).expect("its memory");
    let files = fs::read_dir(format!("/proc/{id}/fd")).expect("its files");
    (kib, files.count())
}

/// The files of a host, by name, in RAM and elsewhere.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("list").flatten();
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    let mut all: Vec<PathBuf> = entries.flat_map(|entry| below(entry.path())).collect();
    all.sort();
    all
}

fn loops(host: &Host) -> Vec<PathBuf> {
    let mut loops = host.loops();
    loops.sort();
    loops
}

#[test]
fn two_hundred_applies_leave_nothing_behind() {
    root_only();
    let host = Host::new(&[("db", DISK), ("web", "")], "");
    host.give_image();
    assert_eq!(host.run(&["apply"]).code, 0);
    host.runs(&["test", "db", "web"]);
    host.uses_loops(2);
    let keeper = Keeper::of(&host);
    let id = keeper.child.id();
    // What runs looks each time.
    let apply = |times: u32| {
        for _ in 0..times {
            let applied = host.run(&["apply"]);
            assert!(applied.stdout.contains("db      runs"), "{applied:?}");
            host.store.set("@introduceDomain", "");
        }
        // The last look is over.
        sleep(Duration::from_secs(1));
        let (store, files) = (&host.store, files(host.root()));
        (
            has(id),
            (loops(&host), store.count(), store.watches(), files),
        )
    };
    let ((memory, open), before) = apply(20);
    let ((then, still_open), after) = apply(200);
    assert_eq!((still_open, after), (open, before));
    let grown = then.saturating_sub(memory);
    assert!(grown <= 1024, "{memory} KiB and {grown} more");
    assert_eq!(keeper.end(), Some(0));
}

#[test]
fn a_hundred_starts_leave_nothing_behind() {
    root_only();
    let host = Host::new(&[("db", DISK), ("web", "")], "");
    host.give_image();
    // To the libvirt of each of these nothing runs yet: it starts both.
    let start = |times: u32| {
        for _ in 0..times {
            let applied = host.run(&["apply"]);
            assert!(
                applied.stdout.contains("db      started as domain"),
                "{applied:?}"
            );
        }
        (loops(&host), host.store.count(), files(host.root()))
    };
    let before = start(2);
    assert_eq!(start(50), before);
}

/// What XenStore would have: the domains that were made, by the records of who made them.
fn made(root: &Path) -> impl Fn() -> BTreeMap<String, String> + use<> {
    let domus = root.join("run/domus/domus");
    move || {
        let mut nodes = BTreeMap::new();
        let entries = fs::read_dir(&domus).into_iter().flatten().flatten();
        for (id, entry) in (1000..).zip(entries) {
            if was_made(&entry.path()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                nodes.insert(format!("/local/domain/{id}/name"), name);
            }
        }
        nodes
    }
}

/// Whether a domain was made of the domU whose notes are in this directory.
fn was_made(notes: &Path) -> bool {
    let record = fs::read(notes.join("record.json")).unwrap_or_default();
    let record: Record = serde_json::from_slice(&record).unwrap_or_default();
    record.commit.is_some() && !record.making
}

#[test]
fn whoever_looks_at_the_same_time_starts_each_domu_once() {
    root_only();
    let names = ["a", "b", "c", "d"];
    for round in 0..5 {
        // Each has a libvirt of its own: what others made seems to have ended as soon as it was made.
        let host = Host::new(&names.map(|name| (name, "restart = \"never\"\n")), "");
        host.give_image();
        host.store.has_also(made(host.root()));
        let keepers = [(); 3].map(|()| Keeper::of(&host));
        let begin = Instant::now();
        let all = || names.map(|name| host.at("run/domus/domus").join(name));
        while !all().iter().all(|notes| was_made(notes)) {
            assert!(begin.elapsed() < LIMIT, "round {round}");
            sleep(Duration::from_millis(50));
        }
        let applies: Vec<_> = (0..4)
            .map(|_| {
                let mut apply = host.command(&["apply", "--json"]);
                apply.stdout(Stdio::piped()).stderr(Stdio::piped());
                apply.spawn().expect("spawn")
            })
            .collect();
        let mut started: Vec<String> = Vec::new();
        for apply in applies {
            let applied = Ran::from(apply.wait_with_output().expect("wait")).json();
            let names = applied["started"].as_array().expect("a list");
            started.extend(
                names
                    .iter()
                    .map(|it| it["name"].as_str().expect("a name").to_owned()),
            );
        }
        for keeper in keepers {
            let said = keeper.all();
            let name = |line: &String| {
                let line = line.strip_prefix("domus-dom0: ")?;
                Some(line.split_once(" was started as")?.0.to_owned())
            };
            started.extend(said.iter().filter_map(name));
        }
        started.sort();
        assert_eq!(started, names, "round {round}");
    }
}

#[test]
fn a_guest_that_never_reports_is_degraded_and_holds_up_nobody() {
    root_only();
    let host = Host::new(&[("db", ""), ("web", "after = [\"db\"]\n")], "");
    host.give_image();
    host.runs(&["test", "db"]);
    let since = |ago: u64| {
        let now = domus_system::machine::uptime().as_secs();
        let run = json!({"id": 2, "since": now.saturating_sub(ago), "up": null});
        let record = json!({"commit": common::COMMIT, "run": run});
        host.write("run/domus/domus/db/record.json", &record.to_string());
    };
    since(PATIENCE - 30);
    let status = host.run(&["status", "--json"]).json();
    assert_eq!(status["domus"][0]["state"], "starting");
    assert_eq!(status["domus"][1]["reason"], "waits for db to be up");
    since(PATIENCE);
    let keeper = Keeper::of(&host);
    keeper.says("db is degraded: it has run for 5 min");
    keeper.says("web was started as domain");
    assert_eq!(keeper.end(), Some(0));
}

/// Lets the clock that people set show another time: as many seconds later as a file says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int done = syscall(SYS_clock_gettime, id, at);
    FILE *file = id == CLOCK_REALTIME ? fopen(getenv("CLOCK_OFFSET"), "r") : NULL;
    if (file) {
        long offset;
        if (fscanf(file, "%ld", &offset) == 1) at->tv_sec += offset;
        fclose(file);
    }
    return done;
}
"#;

/// A host whose programs see the time that [`CLOCK`] shows.
fn with_clock(domus: &[(&str, &str)]) -> Host {
    let mut host = Host::new(domus, "");
    host.write("clock.c", CLOCK);
    let (from, to) = (host.at("clock.c"), host.at("clock.so"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&to).arg(&from);
    assert!(cc.status().expect("cc").success());
    host.set("LD_PRELOAD", &to.display().to_string());
    host.set("CLOCK_OFFSET", &host.at("offset").display().to_string());
    host.write("offset", "0");
    host
}

const YEARS: i64 = 10 * 365 * 86_400;

#[test]
fn whoever_sets_the_clock_changes_nothing() {
    let host = with_clock(&[("db", ""), ("web", "")]);
    let year_by_it = || {
        let mut date = Command::new("date");
        date.arg("+%Y").env("LD_PRELOAD", host.at("clock.so"));
        date.env("CLOCK_OFFSET", host.at("offset"));
        let output = date.output().expect("date");
        String::from_utf8(output.stdout)
            .expect("a year")
            .trim()
            .parse::<i64>()
            .expect("a year")
    };
    let year = year_by_it();
    host.write("offset", &YEARS.to_string());
    assert!(
        (9..=10).contains(&(year_by_it() - year)),
        "it is another clock"
    );
    host.write("offset", "0");

    host.failed("db", "image base@1 is not on this host");
    let seconds = || {
        let status = host.run(&["status", "--json"]).json();
        let reason = status["domus"][0]["reason"]
            .as_str()
            .expect("a reason")
            .to_owned();
        let (_, left) = reason.split_once("tried again in ").expect("when");
        let (minutes, seconds) = left.split_once(" min").unwrap_or(("0", left));
        let seconds = seconds.trim().trim_end_matches(" s").parse().unwrap_or(0);
        minutes.parse::<u64>().expect("a number") * 60 + seconds
    };
    let begin = Instant::now();
    assert!((290..=300).contains(&seconds()));
    for offset in [YEARS, -YEARS, 0] {
        host.write("offset", &offset.to_string());
        let left = seconds() + begin.elapsed().as_secs();
        assert!((290..=310).contains(&left), "{offset}: {left}");
    }

    fs::remove_file(host.at("run/domus/domus/db/record.json")).expect("rm");
    let keeper = Keeper::of(&host);
    for offset in [0, YEARS, -YEARS] {
        keeper.says("web was not started: image base@1");
        host.write("offset", &offset.to_string());
    }
    host.give_image();
    keeper.says(" was started as domain");
    keeper.says(" was started as domain");
    assert_eq!(keeper.end(), Some(0));
}
