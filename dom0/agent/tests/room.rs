// SPDX-License-Identifier: GPL-3.0-or-later
//! A config partition that has no room for packing anew: the pull says so, and does what it did.

mod common;
mod fleet;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Ran;
use fleet::{Fleet, run, text};

/// The config partition as a file system of so many KiB, for this pull alone; what is on it
/// afterwards is in place of what was.
const SCRIPT: &str = "set -e; dir=$1; size=$2; shift 2
    cp -a $dir $dir.kept; mount -t tmpfs -o size=${size}k none $dir; cp -a $dir.kept/. $dir
    code=0; \"$@\" || code=$?
    rm -rf $dir.kept; cp -a $dir $dir.after; umount $dir; rm -rf $dir; mv $dir.after $dir; exit $code";

fn pull(fleet: &Fleet, size: u64) -> Ran {
    let agent = fleet.host.command(&["pull"]);
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
    unshare.arg(fleet.host.at("config")).arg(size.to_string());
    unshare.arg(agent.get_program()).args(agent.get_args());
    for (key, value) in agent.get_envs() {
        unshare.env(key, value.unwrap_or_default());
    }
    Ran::from(unshare.output().expect("unshare"))
}

/// What is in a directory, in KiB, as a file system of pages has it, and how many packs.
fn used(directory: &Path) -> (u64, usize) {
    let (mut size, mut packs) = (4, 0);
    for entry in fs::read_dir(directory).expect("listed") {
        let entry = entry.expect("an entry");
        let meta = entry.metadata().expect("metadata");
        let name = entry.file_name();
        packs += usize::from(name.to_string_lossy().ends_with(".pack"));
        let below = meta.is_dir().then(|| used(&entry.path()));
        let (own, others) = below.unwrap_or((meta.len().div_ceil(4096) * 4, 0));
        (size, packs) = (size + own, packs + others);
    }
    (size, packs)
}

#[test]
fn without_room_it_grows_on_and_nothing_is_lost() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let config = fleet.host.at("config");
    for number in 0..9_u64 {
        // Digits that compress to less than half.
        let noise = (0..40_000).map(|i| (i * i + number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let noise: String = noise.map(|it| format!("{it:x}")).collect();
        fleet.put("vservers/web/etc/noise", &noise);
        fleet.web(&format!("{}MiB", 128 + number));
        assert_eq!(fleet.pull().code, 0);
    }
    let (size, packs) = used(&config);
    assert_eq!(packs, 10);
    let next = fleet.web("96MiB");
    let pulled = pull(&fleet, size + 1024);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    for part in ["packing", "bytes of room"] {
        assert!(pulled.stderr.contains(part), "{part}: {pulled:?}");
    }
    assert_eq!((fleet.running(), used(&config).1), (next, 11));

    let next = fleet.web("97MiB");
    let pulled = pull(&fleet, 3 * size);
    assert_eq!((pulled.code, pulled.stderr.as_str()), (0, ""), "{pulled:?}");
    assert_eq!((fleet.running(), used(&config).1), (next, 3));
    let repository = text(&fleet.host.at("config/repo.git"));
    run("git", &["-C", &repository, "fsck", "--strict"]);
}
