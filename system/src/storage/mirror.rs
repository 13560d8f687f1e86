// SPDX-License-Identifier: GPL-3.0-or-later
//! MD RAID1: Linux, Documentation/admin-guide/md.rst.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::program::Program;

/// The device of the mirror.
const DEVICE: &str = "/dev/md/domus";

/// Makes a mirror of two partitions on which nothing is.
///
/// # Errors
/// mdadm refuses.
pub fn create(id: Uuid, parts: &[PathBuf]) -> Result<PathBuf> {
    Program::new("mdadm")
        .args(["--create", DEVICE, "--run", "--level=1", "--raid-devices=2"])
        .args([
            "--metadata=1.2",
            "--bitmap=internal",
            "--homehost=any",
            "--name=domus",
        ])
        .arg(format!("--uuid={id}"))
        .args(parts)
        .run()?;
    found()
}

/// Starts a mirror with those of its halves that are there, if it does not run yet.
///
/// # Errors
/// mdadm refuses.
pub fn assemble(id: Uuid, parts: &[PathBuf]) -> Result<PathBuf> {
    if let Some(device) = parts.iter().find_map(|part| holder(part)) {
        return Ok(device);
    }
    Program::new("mdadm")
        // What the host's own mdadm.conf says of arrays is not about this one.
        .args(["--assemble", DEVICE, "--config=none", "--run"])
        .arg(format!("--uuid={id}"))
        .args(parts)
        .run()?;
    found()
}

/// Takes a partition into a mirror, which then copies itself to it.
///
/// # Errors
/// mdadm refuses: it may be smaller than the other.
pub fn join(mirror: &Path, part: &Path) -> Result<()> {
    Program::new("mdadm")
        .arg("--manage")
        .arg(mirror)
        .arg("--add")
        .arg(part)
        .run()
}

fn found() -> Result<PathBuf> {
    let device = Path::new(DEVICE).canonicalize();
    device.with_context(|| format!("finding {DEVICE}, which mdadm has started"))
}

/// The array that has the partition.
fn holder(part: &Path) -> Option<PathBuf> {
    let name = part.file_name()?;
    let holders = Path::new("/sys/class/block").join(name).join("holders");
    let mut holders = fs::read_dir(holders).ok()?.flatten();
    let holder = holders.next()?;
    let is_array = holder.path().join("md").is_dir();
    is_array.then(|| Path::new("/dev").join(holder.file_name()))
}

/// How a mirror is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How many of its halves are not in it, or not yet.
    pub missing: u32,
    /// What it does, while it does something: `recover 37%`.
    pub doing: Option<String>,
}

/// How the mirror is, if there is one; nothing if it does not run.
pub fn state() -> Option<State> {
    let device = Path::new(DEVICE).canonicalize().ok()?;
    let dir = Path::new("/sys/class/block")
        .join(device.file_name()?)
        .join("md");
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    Some(parse(
        &read("degraded"),
        &read("sync_action"),
        &read("sync_completed"),
    ))
}

/// `1`, `recover`, `1234 / 5678` or `none`.
fn parse(degraded: &str, action: &str, completed: &str) -> State {
    let doing = Some(action.trim()).filter(|action| !matches!(*action, "" | "idle" | "frozen"));
    let share = || {
        let (done, all) = completed.trim().split_once(" / ")?;
        let (done, all) = (done.parse::<u64>().ok()?, all.parse::<u64>().ok()?);
        done.saturating_mul(100).checked_div(all)
    };
    State {
        missing: degraded.trim().parse().unwrap_or(0),
        doing: doing.map(|doing| match share() {
            Some(share) => format!("{doing} {share}%"),
            None => doing.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read() {
        let cases = [
            (("0\n", "idle\n", "none\n"), 0, None),
            (("1\n", "recover\n", "512 / 2048\n"), 1, Some("recover 25%")),
            (("0\n", "resync\n", "none\n"), 0, Some("resync")),
            (("", "", ""), 0, None),
        ];
        for ((degraded, action, completed), missing, doing) in cases {
            let doing = doing.map(str::to_owned);
            assert_eq!(parse(degraded, action, completed), State { missing, doing });
        }
    }
}
