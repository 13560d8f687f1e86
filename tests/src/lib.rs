// SPDX-License-Identifier: GPL-3.0-or-later
//! What black-box tests share: the program under test, fleets, machines.

pub mod boots;
pub mod console;
pub mod disks;
pub mod ext4;
pub mod firmware;
pub mod fleet;
pub mod foreign;
pub mod grub;
pub mod help;
pub mod host;
pub mod iso9660;
pub mod loops;
pub mod machine;
pub mod netns;
pub mod ran;
pub mod rehearsal;
pub mod ssh;
pub mod stage;
pub mod tmpfs;
pub mod traces;
pub mod vfat;

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The operator's program, ready to be given arguments: that of `DOMUS_BIN`, or built once.
/// `home` stands in for the operator's home directory, and is where it runs.
///
/// # Panics
/// It cannot be built.
pub fn domus(home: &Path) -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(BINARY.get_or_init(binary));
    command.current_dir(home).env("HOME", home);
    command.env_remove("XDG_CONFIG_HOME");
    command
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("DOMUS_BIN") {
        return path.into();
    }
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "domus"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    build.current_dir(workspace()).assert().success();
    // Tests run as target/PROFILE/deps/NAME.
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("a target directory");
    profile.join("domus")
}

/// The operator's program with all that it ships, as `make build` leaves it: needed by whatever
/// builds. `DOMUS_BIN`, else that of `target/dist`.
///
/// # Panics
/// It is not there.
pub fn shipped() -> PathBuf {
    let path = std::env::var_os("DOMUS_BIN")
        .map_or_else(|| workspace().join("target/dist/bin/domus"), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there: `make build` makes it",
        path.display()
    );
    path
}

/// These tests mount and boot, and loop devices are made: as root, as `make test` says.
///
/// # Panics
/// This is not root.
pub fn require_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test needs root: run it so"
    );
}
