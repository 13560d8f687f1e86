// SPDX-License-Identifier: GPL-3.0-or-later
//! What is on a disk, as far as that can be found out without writing to it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use domus_model::marker::MARKER_PATH;
use domus_model::storage::seed::{FILLING_AT, FILLING_SIZE, Filling, Place};
use domus_model::storage::{CLAIM_AT, CLAIM_SIZE, Claim, Disk, ENDS, Found, Look};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::block;
use crate::disks::value;
use crate::mount::{Mount, Mounted};
use crate::program::Program;

/// Where disks have names that do not change.
pub const BY_ID: &str = "/dev/disk/by-id";
/// What blkid(8) exits with if it knows nothing of a device, and if it knows too much.
const NOTHING: i32 = 2;
const AMBIVALENT: i32 = 8;

/// The device of a disk, if it is there.
pub fn device(name: &str) -> Option<PathBuf> {
    Path::new(BY_ID).join(name).canonicalize().ok()
}

/// Looks at a disk.
pub fn look(name: &str) -> Look {
    let Some(device) = device(name) else {
        return Look::Absent;
    };
    match disk(&device) {
        Ok(disk) => Look::Disk(disk),
        Err(error) => Look::Unreadable(format!("{error:#}")),
    }
}

fn disk(device: &Path) -> Result<Disk> {
    let dir = sysfs(device);
    ensure!(dir.is_dir(), "{} is no disk", device.display());
    ensure!(
        !dir.join("partition").exists(),
        "{} is a partition",
        device.display()
    );
    let file = File::open(device).with_context(|| format!("opening {}", device.display()))?;
    let size = size(&dir);
    ensure!(size > 2 * ENDS, "it has {size} bytes only");
    let parts = parts(device)?;
    let (zero, claim) = ends(&file, size)?;
    let of_config = claim.as_ref().map(|claim| claim.config().to_string());
    let mut found = known(device, false)?.found;
    let mut partitions = Vec::new();
    let mut config = None;
    for part in &parts {
        let known = known(part, true)?;
        found.extend(known.found);
        if known.partition.is_some() && known.partition == of_config {
            config = Some(self::size(&sysfs(part)));
        }
        partitions.extend(known.partition);
    }
    let all = std::iter::once(device).chain(parts.iter().map(PathBuf::as_path));
    let mut in_use = false;
    for device in all {
        in_use |= is_in_use(device)?;
    }
    Ok(Disk {
        size,
        read_only: block::is_read_only(device),
        in_use,
        zero,
        claim,
        partitions,
        config,
        found,
    })
}

fn sysfs(device: &Path) -> PathBuf {
    Path::new("/sys/class/block").join(device.file_name().unwrap_or_default())
}

/// In bytes.
fn size(dir: &Path) -> u64 {
    let sectors = fs::read_to_string(dir.join("size")).unwrap_or_default();
    sectors.trim().parse::<u64>().unwrap_or(0) * 512
}

/// The partitions of a disk that the kernel knows.
pub(super) fn parts(device: &Path) -> Result<Vec<PathBuf>> {
    let dir = sysfs(device);
    let entries = fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))?;
    let parts = entries
        .flatten()
        .filter(|it| it.path().join("partition").exists());
    let mut parts: Vec<PathBuf> = parts
        .map(|it| Path::new("/dev").join(it.file_name()))
        .collect();
    parts.sort();
    Ok(parts)
}

/// The partitions of a disk that was laid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The one for `/config`, if it has one.
    pub config: Option<PathBuf>,
    /// The one that has what the host keeps.
    pub kept: PathBuf,
}

/// The partitions of a disk that was laid with this claim.
///
/// # Errors
/// The disk has others, or not that which it needs.
pub fn parts_of(device: &Path, claim: &Claim) -> Result<Parts> {
    let [of_config, of_kept] = [claim.config(), claim.seed()].map(|id| Some(id.to_string()));
    let (mut config, mut kept) = (None, None);
    let mut others = 0;
    for part in parts(device)? {
        match known(&part, true)?.partition {
            id if id == of_config => config = Some(part),
            id if id == of_kept => kept = Some(part),
            _ => others += 1,
        }
    }
    match kept {
        Some(kept) if others == 0 => Ok(Parts { config, kept }),
        _ => bail!(
            "{} has not the partitions that Domus gave it: somebody changed its table",
            device.display()
        ),
    }
}

/// Looks at the partition for `/config` of a disk that is ready. `scratch`: where it is mounted for
/// that.
///
/// # Errors
/// The disk cannot be read.
pub fn place(disk: &Path, part: &Path, claim: &Claim, scratch: &Path) -> Result<Place> {
    let shown = part.display();
    let doing = || format!("looking at {shown}");
    let mut note = vec![0; FILLING_SIZE];
    let file = File::open(disk).with_context(doing)?;
    file.read_exact_at(&mut note, FILLING_AT)
        .with_context(doing)?;
    let found = known(part, true)?.found;
    let is_ext4 = matches!(&found[..], [found] if found.what == "ext4");
    let file = File::open(part).with_context(doing)?;
    Ok(Place {
        device: shown.to_string(),
        filling: Filling::parse(&note, claim),
        zero: ends(&file, size(&sysfs(part))).with_context(doing)? == (true, None),
        marker: is_ext4.then(|| has_marker(part, scratch)).flatten(),
        found,
    })
}

/// Whether the ext4 on a partition has a marker; nothing if it cannot be mounted.
fn has_marker(part: &Path, scratch: &Path) -> Option<bool> {
    let mut mount = Mount::read_only("ext4", part);
    mount.flags.push("noload");
    let mounted = Mounted::new(&mount, scratch).ok()?;
    let marker = mounted.path().join(MARKER_PATH).symlink_metadata();
    Some(marker.is_ok())
}

/// What `blkid` knows of a device.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    /// The UUID of the partition that it is.
    partition: Option<String>,
    found: Vec<Found>,
}

fn known(device: &Path, inside: bool) -> Result<Known> {
    let (code, output) = Program::new("blkid")
        .args(["--probe", "--output", "export", "--"])
        .arg(device)
        .answer(&[NOTHING, AMBIVALENT])?;
    let name = device.display().to_string();
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(match code {
        NOTHING => Known::default(),
        AMBIVALENT => Known {
            partition: value(&text, "PART_ENTRY_UUID"),
            found: vec![Found {
                device: name,
                inside,
                what: "several kinds of content at once".to_owned(),
                id: None,
            }],
        },
        _ => parse(&text, &name, inside),
    })
}

/// `KEY=VALUE` lines.
fn parse(text: &str, device: &str, inside: bool) -> Known {
    let found = |what: Option<String>, id: &str| {
        what.map(|what| Found {
            device: device.to_owned(),
            inside,
            what,
            id: value(text, id),
        })
    };
    let table = value(text, "PTTYPE").map(|kind| format!("{kind} table"));
    let table = found(table, "PTUUID");
    let content = found(value(text, "TYPE"), "UUID");
    Known {
        partition: value(text, "PART_ENTRY_UUID"),
        found: table.into_iter().chain(content).collect(),
    }
}

/// Whether both ends of a disk are zero, but for the place of a claim; and the claim.
fn ends(file: &File, size: u64) -> Result<(bool, Option<Claim>)> {
    let length = usize::try_from(ENDS)?;
    let (mut head, mut tail) = (vec![0; length], vec![0; length]);
    file.read_exact_at(&mut head, 0)
        .context("reading its beginning")?;
    file.read_exact_at(&mut tail, size - ENDS)
        .context("reading its end")?;
    let at = usize::try_from(CLAIM_AT)?;
    let claim = Claim::parse(&head[at..at + CLAIM_SIZE]);
    if claim.is_some() {
        head[at..at + CLAIM_SIZE].fill(0);
    }
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    Ok((is_zero(&head) && is_zero(&tail), claim))
}

/// Whether somebody has the device for himself: the kernel lets nobody else have it then.
fn is_in_use(device: &Path) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::open(device, flags, Mode::empty()) {
        Ok(_) => Ok(false),
        Err(Errno::BUSY) => Ok(true),
        Err(error) => Err(error).with_context(|| format!("opening {}", device.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blkid_says_is_read() {
        // util-linux 2.41, a disk and its partition.
        let disk = "DEVNAME=/dev/vdb\nPTUUID=0f8a\nPTTYPE=gpt\n";
        let gpt = Found {
            device: "/dev/vdb".into(),
            inside: false,
            what: "gpt table".into(),
            id: Some("0f8a".into()),
        };
        let expected = Known {
            partition: None,
            found: vec![gpt],
        };
        assert_eq!(parse(disk, "/dev/vdb", false), expected);
        let part = "DEVNAME=/dev/vdb1\nUUID=AB-CD\nTYPE=LVM2_member\nPART_ENTRY_UUID=12-34\n";
        let known = parse(part, "/dev/vdb1", true);
        assert_eq!(known.partition.as_deref(), Some("12-34"));
        assert_eq!(known.found[0].id.as_deref(), Some("AB-CD"));
        assert!(known.found[0].inside);
        let empty = "DEVNAME=/dev/vdb1\nPART_ENTRY_UUID=12-34\n";
        assert_eq!(parse(empty, "/dev/vdb1", true).found, []);
        let old = parse("PTTYPE=dos\n", "/dev/vdb", false);
        assert_eq!(old.found[0].id, None);
    }

    #[test]
    fn ends_are_read_but_for_the_claim() {
        let file = tempfile::tempfile().expect("a file");
        let size = 3 * ENDS;
        file.set_len(size).expect("a size");
        assert_eq!(ends(&file, size).expect("read"), (true, None));
        file.write_at(b"x", ENDS).expect("a write");
        assert_eq!(ends(&file, size).expect("read"), (true, None));
        file.write_at(b"x", CLAIM_AT).expect("a write");
        assert_eq!(ends(&file, size).expect("read"), (false, None));
        file.write_at(b"\0", CLAIM_AT).expect("a write");
        file.write_at(b"x", size - 1).expect("a write");
        assert_eq!(ends(&file, size).expect("read"), (false, None));
    }
}
