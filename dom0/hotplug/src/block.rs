// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU's disk: a block device, or a file on a loop device, is handed to blkback, unless
//! sharing it would destroy data.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use domus_system::loopdev;
use rustix::fs::{FlockOperation, flock};

use crate::Backend;

/// Held while sharing is checked and the device claimed, so that two domUs cannot both pass.
const LOCK: &str = "/run/domus-hotplug.lock";
const VBDS: &str = "/local/domain/0/backend/vbd";

/// How a device is or will be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
    /// `w!`: the operator said that sharing is wanted.
    Force,
}

impl Mode {
    fn parse(text: &str) -> Self {
        match text {
            "w!" | "!" => Self::Force,
            text if text.starts_with('w') => Self::Write,
            _ => Self::Read,
        }
    }
}

/// Connects the disk.
pub(crate) fn add(backend: &Backend) -> Result<()> {
    if backend.read("physical-device")?.is_some() {
        // libxl may call twice for one device.
        return Ok(());
    }
    let params = backend.require("params")?;
    let mode = Mode::parse(&backend.require("mode")?);
    let path = Path::new(&params);
    let kind = fs::metadata(path)
        .with_context(|| format!("finding the disk {params}"))?
        .file_type();
    let device = if kind.is_block_device() {
        path.canonicalize()
            .with_context(|| format!("finding the disk {params}"))?
    } else {
        ensure!(
            kind.is_file(),
            "{params} is neither a block device nor a file"
        );
        let device = loopdev::attach(path, mode == Mode::Read)?;
        backend.write("node", &device.to_string_lossy())?;
        device
    };
    let lock = File::create(LOCK).with_context(|| format!("opening {LOCK}"))?;
    flock(&lock, FlockOperation::LockExclusive).with_context(|| format!("locking {LOCK}"))?;
    let number = number(&device)?;
    if let Some(conflict) = conflict(mode, &users(backend, &device, &number)?) {
        bail!("{}: {conflict}", device.display());
    }
    backend.write("physical-device", &number)?;
    backend.write("physical-device-path", &device.to_string_lossy())?;
    backend.connected()
}

/// Disconnects the disk: a loop device that `add` made goes, a block device stays.
pub(crate) fn remove(backend: &Backend) -> Result<()> {
    match backend.read("node")? {
        Some(node) if !node.is_empty() => loopdev::detach(Path::new(&node)),
        _ => Ok(()),
    }
}

/// `major:minor` in hexadecimal, as blkback reads it.
fn number(device: &Path) -> Result<String> {
    let raw = fs::metadata(device)
        .with_context(|| format!("finding the disk {}", device.display()))?
        .rdev();
    Ok(format!(
        "{:x}:{:x}",
        rustix::fs::major(raw),
        rustix::fs::minor(raw)
    ))
}

/// Who else uses a device.
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    mode: Mode,
}

/// Other domUs and mounts of dom0 that use the device.
fn users(backend: &Backend, device: &Path, number: &str) -> Result<Vec<User>> {
    let mut users = mounts(&fs::read_to_string("/proc/mounts")?, device);
    let ours = vm(backend, &backend.require("frontend-id")?)?;
    for domain in backend.store.list(VBDS)? {
        for vbd in backend.store.list(&format!("{VBDS}/{domain}"))? {
            let node = format!("{VBDS}/{domain}/{vbd}");
            let other = backend.store.read(&format!("{node}/physical-device"))?;
            if node == backend.path || other.as_deref() != Some(number) {
                continue;
            }
            // The same domU under a new domain number: a restart or a migration.
            if ours.is_some() && vm(backend, &domain)? == ours {
                continue;
            }
            let mode = backend
                .store
                .read(&format!("{node}/mode"))?
                .unwrap_or_default();
            users.push(User {
                name: format!("domain {domain}"),
                mode: Mode::parse(&mode),
            });
        }
    }
    Ok(users)
}

/// The UUID path of a domain.
fn vm(backend: &Backend, domain: &str) -> Result<Option<String>> {
    backend.store.read(&format!("/local/domain/{domain}/vm"))
}

/// Mounts of `device` in the text of `/proc/mounts`.
fn mounts(text: &str, device: &Path) -> Vec<User> {
    let mut users = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [source, target, _, options, ..] = words.as_slice() else {
            continue;
        };
        let same = PathBuf::from(source)
            .canonicalize()
            .is_ok_and(|source| source == device);
        if same || Path::new(source) == device {
            let writes = options.split(',').any(|option| option == "rw");
            let mode = if writes { Mode::Write } else { Mode::Read };
            users.push(User {
                name: format!("dom0 on {target}"),
                mode,
            });
        }
    }
    users
}

/// Why a device must not be used as `mode`: any number may read, or one may write.
fn conflict(mode: Mode, users: &[User]) -> Option<String> {
    let other = match mode {
        Mode::Force => None,
        Mode::Write => users.first(),
        Mode::Read => users.iter().find(|user| user.mode != Mode::Read),
    }?;
    let how = if other.mode == Mode::Read {
        "reads"
    } else {
        "writes to"
    };
    Some(format!(
        "{} {how} it already; sharing it would destroy data",
        other.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(mode: Mode) -> User {
        User {
            name: "domain 3".into(),
            mode,
        }
    }

    #[test]
    fn many_may_read_or_one_may_write() {
        for (ours, theirs, refused) in [
            (Mode::Read, Mode::Read, false),
            (Mode::Read, Mode::Write, true),
            (Mode::Write, Mode::Read, true),
            (Mode::Write, Mode::Write, true),
            (Mode::Force, Mode::Write, false),
        ] {
            assert_eq!(
                conflict(ours, &[user(theirs)]).is_some(),
                refused,
                "{ours:?} {theirs:?}"
            );
        }
        assert_eq!(conflict(Mode::Write, &[]), None);
    }

    #[test]
    fn modes_are_read_as_xen_writes_them() {
        assert_eq!(Mode::parse("w"), Mode::Write);
        assert_eq!(Mode::parse("w!"), Mode::Force);
        assert_eq!(Mode::parse("r"), Mode::Read);
    }

    #[test]
    fn a_disk_mounted_in_dom0_is_in_use() {
        let text = "/dev/none /config ext4 rw,nodev 0 0\n/dev/none /ro ext4 ro 0 0\nx\n";
        let found = mounts(text, Path::new("/dev/none"));
        let modes: Vec<Mode> = found.iter().map(|user| user.mode).collect();
        assert_eq!(modes, [Mode::Write, Mode::Read]);
        assert!(mounts(text, Path::new("/dev/other")).is_empty());
    }
}
