// SPDX-License-Identifier: GPL-3.0-or-later
//! What `domus-boot` believes: a signed release boots what a target says, whatever lies on the disk
//! and whatever the clock says.

use domus_tests::boots::Boot;
use domus_tests::console::Console;
use domus_tests::disks::Partition;
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::machine::{DECISION, Machine, Parts, Release, SHELL};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A signed fleet whose hosts follow targets, with the targets 1 and 2.
struct Stage {
    boot: Boot,
    fleet: Fleet,
    release: Release,
    first: String,
    second: String,
}

impl Stage {
    fn new() -> Self {
        let boot = Boot::new("trust");
        let fleet = Fleet::new(boot.path());
        fleet.append(
            "domus.toml",
            "\n[config]\nremote = \"https://git.example.net/fleet.git\"\n",
        );
        let version = "version     = \"1\"\n";
        let least = format!("{version}least-serial = 1\n");
        fleet.change("domus.toml", version, &least);
        fleet.sign();
        let first = fleet.commit();
        fleet.domus(&["publish", "--no-push"]).exits(0);
        let built = fleet.domus(&["iso", "build"]).exits(0);
        assert!(!built.stdout.contains("unsigned"), "{built:?}");
        let release = Release::of(&fleet, boot.path());
        fleet.write("pservers/alpha/etc/motd", "the second\n");
        let second = fleet.commit();
        fleet
            .domus(&["publish", "--no-push", "--on", "al*,@none"])
            .exits(0);
        Self {
            boot,
            fleet,
            release,
            first,
            second,
        }
    }

    fn target(&self, revision: &str) -> String {
        let revision = format!("refs/domus/targets{revision}");
        self.fleet.git(&["rev-parse", &revision])
    }

    fn partition(&self, name: &str, statement: &str) -> Partition {
        Partition::new(self.boot.path(), name)
            .marker("example", "alpha", &format!("dmi-uuid = \"{ALPHA}\""))
            .repo(&self.fleet.dir, statement)
    }

    fn start(&self, clock: &str, disks: &[PathBuf], log: &str) -> Machine {
        let place = (self.boot.path(), log);
        let parts = Parts {
            clock,
            arguments: SHELL,
            ..Parts::new(&self.release, ALPHA, disks)
        };
        Machine::start(&parts, place)
    }
}

/// The record of the boot, as the shell that [`SHELL`] asks for shows it.
fn record(console: &mut Console) -> Value {
    console.wait_for("# ", DECISION);
    let record = console.ok("cat /run/domus/boot.json");
    serde_json::from_str(&record).expect("JSON")
}

#[test]
fn a_signed_release_boots_what_a_target_says() {
    let stage = Stage::new();
    let newest = stage.target("");
    // A stick with the right marker and a commit that nobody signed.
    stage.fleet.git(&["config", "commit.gpgsign", "false"]);
    stage.fleet.write("pservers/alpha/etc/motd", "planted\n");
    let planted = stage.fleet.commit();
    let stick = stage.partition("stick", &planted).disk(24);
    // And somebody who has the disk points at a commit that was signed and never published.
    stage.fleet.git(&["config", "commit.gpgsign", "true"]);
    stage.fleet.git(&["reset", "--hard", "-q", "HEAD~1"]);
    stage.fleet.write("pservers/alpha/etc/motd", "staged\n");
    let staged = stage.fleet.commit();
    stage.fleet.git(&["update-ref", "refs/domus/both", &newest]);
    let both = stage.partition("good", &staged);
    let repo = both.path().join("repo.git");
    let target = stage.partition("target", &newest);
    merge(&target, &both);
    let refs = repo.join("refs/domus/generations");
    fs::create_dir_all(&refs).expect("a directory");
    fs::write(refs.join("000001"), format!("{newest}\n")).expect("a ref");
    let disks = [stick, both.disk(32)];
    let mut machine = stage.start("1970-01-01T00:00:10", &disks, "clock-1970");
    let console = &mut machine.console;
    let said = console.wait_for("domus: starting systemd", DECISION);
    assert!(!said.contains("UNSIGNED"), "{said}");
    let line = format!("NOT BOOTED: refs/domus/running: the commit {staged} is signed, but no");
    assert!(said.contains(&line), "{said}");
    let line = format!(
        "commit {}, target 2 signed by alice, commit by alice",
        stage.second
    );
    assert!(said.contains(&line), "{said}");
    let record = record(console);
    assert_eq!(record["commit"], stage.second);
    assert_eq!(record["statement"]["serial"], 2);
    let looked: Vec<String> = record["looked_at"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| format!("{} {}", it["device"], it["reason"]))
        .collect();
    let planted = looked.iter().find(|it| it.starts_with("\"vda1\""));
    let planted = planted.expect("the stick was looked at");
    assert!(planted.contains("signed by nobody"), "{planted}");
    assert_eq!(console.ok("cat /etc/motd").trim(), "the second");
    drop(machine);

    // A disk with an older target than the release was built with, and one that is right.
    let older = stage.target("~1");
    let disk = stage.partition("older", &older).disk(32);
    let mut machine = stage.start("2099-12-31T23:59:50", &[disk], "clock-2099");
    let console = &mut machine.console;
    let said = console.wait_for("domus: starting systemd", DECISION);
    assert!(said.contains(&format!("commit {}", stage.first)), "{said}");
    assert!(!said.contains("NOT BOOTED"), "{said}");
}

/// Gives a partition the objects of another.
fn merge(from: &Partition, to: &Partition) {
    let packs = |it: &Partition| it.path().join("repo.git/objects/pack");
    for entry in fs::read_dir(packs(from)).expect("packs").flatten() {
        let to = packs(to).join(entry.file_name());
        if !to.exists() {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}
