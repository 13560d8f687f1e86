// SPDX-License-Identifier: GPL-3.0-or-later
//! The power fails while a host takes commits and switches between them. The release's own kernel
//! and initramfs boot without Xen; QEMU is killed.

use domus_tests::fleet::ALPHA;
use domus_tests::machine::{DECISION, Machine, Parts, SHELL};
use domus_tests::ran::Ran;
use domus_tests::stage::{Stage, uuid};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How many cuts there are if `DOMUS_CUTS` says nothing: a sample.
const CUTS: u64 = 4;
/// How long a host works before one, in milliseconds: the least, and how much more at most.
const LEAST: u64 = 2_000;
const MORE: u64 = 10_000;
/// Commits that the host may take, for each cut: more than it can before one.
const COMMITS: u64 = 10;
/// Takes what comes after what runs, again and again; now and then goes back. The server's own git
/// does not care for the power: its branch is made anew.
const WORK: &str = "rm -f /config/server.git/refs/heads/live*; \
    from=$(git -C /config/repo.git rev-parse refs/domus/running); \
    for id in $(git -C /config/server.git rev-list --reverse $from..all); do \
    git -C /config/server.git update-ref refs/heads/live $id; \
    domus-dom0 pull --no-apply; \
    case $id in *0|*1|*2) domus-dom0 rollback --no-apply;; esac; done; echo al''l-taken";

#[test]
fn whenever_the_power_fails_the_next_boot_has_a_whole_commit() {
    let cuts = std::env::var("DOMUS_CUTS").ok();
    let cuts = cuts.map_or(CUTS, |cuts| cuts.parse().expect("a number"));
    let stage = Stage::with("cuts", |fleet| {
        let config =
            "[config]\nremote = \"file:///config/server.git\"\nfollow = \"live\"\n\n[release]";
        fleet.change("domus.toml", "[release]", config);
    });
    let fleet = &stage.fleet;
    fleet.commit();
    let first = stage.head();
    let mut commits = BTreeSet::from([first.clone()]);
    for number in 0..COMMITS * cuts {
        fleet.write("global/etc/domus-number", &format!("{number}\n"));
        commits.insert(fleet.commit());
    }
    let partition = stage
        .partition("config")
        .marker("example", "alpha", &uuid(ALPHA));
    let partition = partition.repo(&fleet.dir, &first);
    let server = partition.path().join("server.git").display().to_string();
    Ran::program_in(
        &fleet.dir,
        "git",
        &["clone", "--quiet", "--bare", ".", &server],
    );
    Ran::program(
        "git",
        &["-C", &server, "update-ref", "refs/heads/all", &stage.head()],
    );
    let args = ["update-ref", "refs/domus/good", &first];
    Ran::program_in(&partition.path().join("repo.git"), "git", &args);
    let disk = partition.disk(64);

    let mut booted = BTreeSet::new();
    for cut in 0..=cuts {
        let mut machine = start(&stage, &disk, &format!("cut-{cut}"));
        let console = &mut machine.console;
        let said = console.wait_for("domus: starting systemd", DECISION);
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("domus: commit "));
        let line = line.unwrap_or_else(|| panic!("no commit in {said}"));
        let id = line.split(',').next().unwrap_or_default().to_owned();
        assert!(commits.contains(&id), "cut {cut}: {said}");
        assert!(!said.contains("NOT BOOTED"), "cut {cut}: {said}");
        booted.insert(id);
        console.wait_for("# ", DECISION);
        if cut == cuts {
            console.ok(
                "cd /config/server.git && rm -f refs/heads/live* && git update-ref refs/heads/live all",
            );
            // Whatever was left behind holds nobody up.
            let (code, said) = console.run("domus-dom0 pull --no-apply");
            assert!([0, 3].contains(&code), "{said}");
            assert_eq!(
                console
                    .ok("git -C /config/repo.git fsck --strict --no-dangling --no-progress 2>&1"),
                ""
            );
            break;
        }
        console.send(WORK);
        // Instants that look random, and are the same each time.
        let instant = LEAST + (cut + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % MORE;
        eprintln!("cut {cut}: after {instant} ms, of {line}");
        console.read_for(Duration::from_millis(instant));
    }
    assert!(
        cuts < 4 || booted.len() > 1,
        "nothing was ever taken: {booted:?}"
    );
}

/// Boots to a shell. What was there before is killed when it goes.
fn start(stage: &Stage, disk: &Path, name: &str) -> Machine {
    let parts = Parts {
        arguments: SHELL,
        ..Parts::new(&stage.release, ALPHA, &[disk.to_owned()])
    };
    Machine::start(&parts, (stage.dir(), name))
}
