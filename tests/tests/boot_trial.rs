// SPDX-License-Identifier: GPL-3.0-or-later
//! Generations that are booted for the first time and do not come up. The release's own kernel and
//! initramfs boot without Xen.

use domus_tests::disks::MIB;
use domus_tests::fleet::ALPHA;
use domus_tests::machine::{DECISION, Machine, Parts, SHELL};
use domus_tests::ran::Ran;
use domus_tests::stage::{Stage, systemd, uuid};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The deadline below, what the guard adds to it, and a shutdown of which systemd makes no end.
const GIVEN_UP: Duration = Duration::from_secs(300);
/// A host that a commit makes unbootable: what it mounts is not there.
const FSTAB: &str = "/dev/nowhere /srv ext4 defaults 0 2\n";

const MIB_OF_CONFIG: u64 = 32;
/// The machine whose disk is write-protected.
const PROTECTED: &str = "protected";

/// A host that was healthy with one commit, and boots another.
struct Trial {
    stage: Stage,
    good: String,
    next: String,
}

impl Trial {
    fn new(name: &str) -> Self {
        let stage = Stage::new(name);
        let good = stage.head();
        let fleet = &stage.fleet;
        fleet.write("pservers/alpha/etc/fstab", FSTAB);
        fleet.change(
            "pservers/alpha/host.toml",
            "[machine]",
            "[health]\ndeadline = \"10s\"\n\n[machine]",
        );
        let next = fleet.commit();
        Self { stage, good, next }
    }

    fn disk(&self, name: &str) -> PathBuf {
        let partition = self.stage.partition(name);
        let partition = partition.marker("example", "alpha", &uuid(ALPHA));
        let partition = partition.repo(&self.stage.fleet.dir, &self.next);
        // Places that every config partition has.
        let places = ["global", "local", "state"];
        let partition = places.iter().fold(partition, |partition, place| {
            partition.file(&format!("{place}/.keep"), "")
        });
        let repo = partition.path().join("repo.git");
        let args = ["update-ref", "refs/domus/good", &self.good];
        Ran::program_in(&repo, "git", &args);
        partition.disk(MIB_OF_CONFIG)
    }

    fn start(&self, disk: &Path, name: &str, arguments: &str) -> Machine {
        let parts = Parts {
            arguments,
            read_only: name == PROTECTED,
            ..Parts::new(&self.stage.release, ALPHA, &[disk.to_owned()])
        };
        Machine::start(&parts, (self.stage.dir(), name))
    }

    /// Boots once more, and makes sure that this is what was good.
    fn boots_what_was_good(&self, disk: &Path, name: &str, why: &str) -> Machine {
        let mut machine = self.start(disk, name, SHELL);
        let console = &mut machine.console;
        let said = console.wait_for("domus: starting systemd", DECISION);
        let line = format!("domus: WENT BACK from {}: {why}", self.next);
        assert!(said.contains(&line), "{said}");
        assert!(
            said.contains(&format!("domus: commit {}", self.good)),
            "{said}"
        );
        let (_, record) = systemd(console, "cat /run/domus/boot.json");
        let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!(record["left"]["statement"], self.next.as_str());
        assert_eq!(record["commit"], self.good.as_str());
        // Nobody stands beside what is proven.
        assert_eq!(console.run("pgrep -f domus-guard").0, 1);
        machine
    }

    /// The same, and it is so for good.
    fn goes_back(&self, disk: &Path, name: &str, why: &str) {
        let mut machine = self.boots_what_was_good(disk, name, why);
        let console = &mut machine.console;
        let refs =
            "git -C /config/repo.git for-each-ref --format '%(refname) %(objectname)' refs/domus";
        let refs = console.ok(refs);
        for (name, id) in [
            ("running", &self.good),
            ("good", &self.good),
            ("held", &self.next),
        ] {
            let line = format!("refs/domus/{name} {id}");
            assert!(refs.contains(&line), "no {line} in {refs}");
        }
    }
}

/// Leaves no block of the file system free, reserved ones neither. `filler`: a file for that.
fn fill(disk: &Path, filler: &Path) {
    let more = usize::try_from((MIB_OF_CONFIG + 1) * MIB).expect("a length");
    fs::write(filler, vec![b'x'; more]).expect("a file");
    let write = format!("write {} filler", filler.display());
    let disk = format!("{}?offset={MIB}", disk.display());
    Ran::program("debugfs", &["-w", "-R", &write, &disk]);
    let left = Ran::program("debugfs", &["-R", "show_super_stats -h", &disk]);
    assert!(left.contains("Free blocks:              0\n"), "{left}");
}

/// systemd waits for what is not there: nobody judges, so the guard does.
#[test]
fn a_commit_that_does_not_come_up_is_left() {
    let trial = Trial::new("trial-fstab");
    let disk = trial.disk("fstab");
    let mut machine = trial.start(&disk, "fstab", "");
    let console = &mut machine.console;
    console.wait_for("domus: on trial: boot 1 of 3 at most", DECISION);
    console.wait_for(
        "nobody found it healthy within 70 s of its boot: this machine starts again",
        GIVEN_UP,
    );
    console.wait_for("reboot: Restarting system", GIVEN_UP);
    drop(machine);
    trial.goes_back(&disk, "fstab-back", "nobody found it healthy within 70 s");
}

/// The power fails each time, or the kernel hangs.
#[test]
fn the_fourth_boot_without_a_verdict_is_another() {
    let trial = Trial::new("trial-cut");
    let disk = trial.disk("cut");
    for boot in 1..=3 {
        let mut machine = trial.start(&disk, &format!("cut-{boot}"), "");
        let line = format!("domus: on trial: boot {boot} of 3 at most");
        machine.console.wait_for(&line, DECISION);
        machine
            .console
            .wait_for("domus: starting systemd", DECISION);
    }
    trial.goes_back(&disk, "cut-back", "3 boots of it began");
}

#[test]
fn where_nothing_can_be_written_nothing_is_tried() {
    let trial = Trial::new("trial-unwritable");
    let disk = trial.disk("full");
    fill(&disk, &trial.stage.dir().join("filler"));
    let mut machine = trial.boots_what_was_good(&disk, "full", "it cannot be tried: ");
    let record = machine.console.ok("cat /run/domus/boot.json");
    assert!(record.contains("No space left on device"), "{record}");
    drop(machine);
    let disk = trial.disk(PROTECTED);
    let mut machine = trial.boots_what_was_good(&disk, PROTECTED, "it cannot be tried: ");
    let record = machine.console.ok("cat /run/domus/boot.json");
    let problem = "/config cannot be written: its disk is write-protected";
    assert!(record.contains(problem), "{record}");
}
