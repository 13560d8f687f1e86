// SPDX-License-Identifier: GPL-3.0-or-later
//! A release and disks for it, to see what `domus-boot` decides about them.

use crate::boots::Boot;
use crate::console::Console;
use crate::disks::Partition;
use crate::fleet::{ALPHA, Fleet};
use crate::machine::{DECISION, Machine, Parts, Release};
use std::path::{Path, PathBuf};

const UNSIGNED: &str = "UNSIGNED: runs commits that nobody signed";

/// A fleet whose ISO is built, and a place for disks and logs.
#[derive(Debug)]
pub struct Stage {
    boot: Boot,
    /// The fleet.
    pub fleet: Fleet,
    /// Its release.
    pub release: Release,
}

impl Stage {
    /// A fleet from the template, with an unsigned release.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// The same, of a fleet that is changed first.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn with(name: &str, change: impl FnOnce(&Fleet)) -> Self {
        let boot = Boot::new(name);
        let fleet = Fleet::new(boot.path());
        change(&fleet);
        fleet.domus(&["iso", "build", "--unsigned"]).exits(0);
        let release = Release::of(&fleet, boot.path());
        Self {
            boot,
            fleet,
            release,
        }
    }

    /// Where disks and logs are.
    pub fn dir(&self) -> &Path {
        self.boot.path()
    }

    /// Its newest commit.
    pub fn head(&self) -> String {
        self.fleet.git(&["rev-parse", "HEAD"])
    }

    /// A partition to be filled.
    pub fn partition(&self, name: &str) -> Partition {
        Partition::new(self.dir(), name)
    }

    /// A partition that alpha takes.
    pub fn good(&self, name: &str) -> Partition {
        self.partition(name)
            .marker("example", "alpha", &uuid(ALPHA))
            .repo(&self.fleet.dir, &self.head())
    }

    /// Starts the release on alpha with these virtio disks.
    ///
    /// # Panics
    /// QEMU does not start.
    pub fn start(&self, disks: &[PathBuf], arguments: &str) -> Machine {
        let place = (self.dir(), "serial");
        let parts = Parts {
            arguments,
            ..Parts::new(&self.release, ALPHA, disks)
        };
        Machine::start(&parts, place)
    }
}

/// The line of a marker that binds it to this machine.
pub fn uuid(uuid: &str) -> String {
    format!("dmi-uuid = \"{uuid}\"")
}

/// What the console says from the release's line to the shell's.
///
/// # Panics
/// The boot is not refused.
pub fn refusal(console: &mut Console) -> String {
    let said = console.wait_for("domus-boot use /dev/", DECISION);
    assert!(said.contains(UNSIGNED), "{said}");
    let begin = said.rfind("domus: ").expect("a line of domus-boot");
    let refusal = said[begin..].to_owned();
    for text in [
        "Nothing was written.\n",
        "A shell follows; `domus-boot retry` looks again",
    ] {
        assert!(refusal.contains(text), "{refusal}");
    }
    assert!(refusal.contains(&format!("DMI UUID {ALPHA}")), "{refusal}");
    console.wait_for("domus rescue# ", DECISION);
    refusal
}

/// Runs a command in the shell that [`SHELL`] asks systemd for.
///
/// # Panics
/// The shell does not answer.
pub fn systemd(console: &mut Console, command: &str) -> (i32, String) {
    console.wait_for("# ", DECISION);
    console.run(command)
}
