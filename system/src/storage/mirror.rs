// SPDX-License-Identifier: GPL-3.0-or-later
//! MD RAID1: Linux, Documentation/admin-guide/md.rst.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::storage::mirror::{Array, Doing, HalfState, Member};
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

/// How the mirror of the machine below `root` is, if there is one; nothing if it does not run.
pub fn state(root: &Path) -> Option<Array> {
    let device = root
        .join(DEVICE.trim_start_matches('/'))
        .canonicalize()
        .ok()?;
    let class = root.join("sys/class/block");
    let dir = class.join(device.file_name()?).join("md");
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let entries = fs::read_dir(&dir).ok()?.flatten();
    let mut members: Vec<Part> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let part = name.strip_prefix("dev-")?;
            Some(Part {
                disk: disk_of(&class, part),
                state: read(&format!("{name}/state")),
                slot: read(&format!("{name}/slot")),
            })
        })
        .collect();
    members.sort();
    Some(parse(&Texts {
        degraded: &read("degraded"),
        action: &read("sync_action"),
        completed: &read("sync_completed"),
        members: &members,
    }))
}

/// The disk that a partition is on: `sda` of `sda1`. One that is gone is called as it was.
fn disk_of(class: &Path, part: &str) -> String {
    let disk = || {
        let dir = class.join(part);
        let is_part = dir.join("partition").exists();
        let dir = is_part.then(|| dir.canonicalize().ok())??;
        Some(dir.parent()?.file_name()?.to_str()?.to_owned())
    };
    disk().unwrap_or_else(|| part.to_owned())
}

/// What the kernel says: Linux, Documentation/admin-guide/md.rst.
struct Texts<'t> {
    /// `1`.
    degraded: &'t str,
    /// `recover`, `idle`.
    action: &'t str,
    /// `1234 / 5678`, `none`, `delayed`.
    completed: &'t str,
    members: &'t [Part],
}

/// What the kernel says of a partition in an array.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    disk: String,
    /// `in_sync,write_mostly`.
    state: String,
    /// Its place in the array, `0`; or `none`.
    slot: String,
}

fn parse(texts: &Texts) -> Array {
    let share = || {
        let (done, all) = texts.completed.trim().split_once(" / ")?;
        let (done, all) = (done.parse::<u64>().ok()?, all.parse::<u64>().ok()?);
        done.saturating_mul(100).checked_div(all)
    };
    let doing = Some(texts.action.trim()).filter(|it| !matches!(*it, "" | "idle" | "frozen"));
    let member = |part: &Part| {
        let has = |word: &str| part.state.trim().split(',').any(|it| it == word);
        Member {
            disk: part.disk.clone(),
            state: match (has("faulty"), has("in_sync"), part.slot.trim()) {
                (true, ..) => HalfState::Failed,
                (false, true, _) => HalfState::InSync,
                // Both that which gets its copy and that which waits for another to fail are called
                // a spare.
                (false, false, "none") => HalfState::Spare,
                (false, false, _) => HalfState::Behind,
            },
        }
    };
    Array {
        missing: texts.degraded.trim().parse().unwrap_or(0),
        members: texts.members.iter().map(member).collect(),
        doing: doing.map(|doing| Doing {
            what: doing.to_owned(),
            percent: share(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn states_are_read() {
        use HalfState::{Behind, Failed, InSync, Spare};
        type Case = (
            [&'static str; 3],
            &'static [(&'static str, &'static str, HalfState)],
            u32,
            Option<&'static str>,
        );
        let cases: [Case; 8] = [
            (
                ["0\n", "idle\n", "none\n"],
                &[("in_sync\n", "0\n", InSync)],
                0,
                None,
            ),
            (
                ["1\n", "recover\n", "512 / 2048\n"],
                &[("in_sync\n", "0\n", InSync), ("spare\n", "1\n", Behind)],
                1,
                Some("recover 25%"),
            ),
            (
                ["1\n", "recover\n", "delayed\n"],
                &[("spare\n", "1\n", Behind)],
                1,
                Some("recover"),
            ),
            (
                ["0\n", "idle\n", "none\n"],
                &[("in_sync\n", "1\n", InSync), ("spare\n", "none\n", Spare)],
                0,
                None,
            ),
            (
                ["1\n", "idle\n", "none\n"],
                &[
                    ("faulty,write_error\n", "none\n", Failed),
                    ("in_sync,write_mostly\n", "1\n", InSync),
                ],
                1,
                None,
            ),
            (["0\n", "resync\n", "0 / 0\n"], &[], 0, Some("resync")),
            (["1\n", "frozen\n", "none\n"], &[], 1, None),
            (["", "", ""], &[("", "", Behind)], 0, None),
        ];
        for ([degraded, action, completed], states, missing, doing) in cases {
            let members = states.iter().map(|(state, slot, _)| Part {
                disk: "sda".to_owned(),
                state: (*state).to_owned(),
                slot: (*slot).to_owned(),
            });
            let array = parse(&Texts {
                degraded,
                action,
                completed,
                members: &members.collect::<Vec<_>>(),
            });
            let found: Vec<HalfState> = array.members.iter().map(|it| it.state).collect();
            let expected: Vec<HalfState> = states.iter().map(|it| it.2).collect();
            assert_eq!(found, expected);
            let says = array.doing.as_ref().map(ToString::to_string);
            assert_eq!((array.missing, says.as_deref()), (missing, doing));
        }
    }

    #[test]
    fn the_kernel_is_read() {
        let root = tempfile::tempdir().expect("dir");
        assert_eq!(state(root.path()), None);
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, text).expect("write");
        };
        let link = |to: &str, path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            symlink(to, path).expect("a link");
        };
        write("dev/md127", "");
        link("../md127", "dev/md/domus");
        write("sys/devices/sda/sda1/partition", "1\n");
        link("../../devices/sda/sda1", "sys/class/block/sda1");
        let md = "sys/class/block/md127/md";
        write(&format!("{md}/degraded"), "1\n");
        write(&format!("{md}/sync_action"), "idle\n");
        write(&format!("{md}/sync_completed"), "none\n");
        write(&format!("{md}/dev-sda1/state"), "in_sync\n");
        write(&format!("{md}/dev-sda1/slot"), "0\n");
        write(&format!("{md}/dev-sdc1/state"), "spare\n");
        write(&format!("{md}/dev-sdc1/slot"), "none\n");
        // It was pulled out.
        write(&format!("{md}/dev-sdb1/state"), "faulty\n");
        let member = |disk: &str, state| Member {
            disk: disk.into(),
            state,
        };
        let expected = Array {
            missing: 1,
            members: vec![
                member("sda", HalfState::InSync),
                member("sdb1", HalfState::Failed),
                member("sdc1", HalfState::Spare),
            ],
            doing: None,
        };
        assert_eq!(state(root.path()), Some(expected));
    }
}
