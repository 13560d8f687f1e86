// SPDX-License-Identifier: GPL-3.0-or-later
//! device-mapper: block devices of one target each. Interface: `linux/dm-ioctl.h`, version 4.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const CONTROL: &str = "/dev/mapper/control";
const READ_ONLY: u32 = 1;

// Requests: `_IOWR(0xfd, NUMBER, struct dm_ioctl)`.
const CREATE: libc::c_ulong = 0xc138_fd03;
const REMOVE: libc::c_ulong = 0xc138_fd04;
/// Puts the loaded table to work, as no suspension is asked for.
const RESUME: libc::c_ulong = 0xc138_fd06;
const LOAD: libc::c_ulong = 0xc138_fd09;
const STATUS: libc::c_ulong = 0xc138_fd0c;

/// `struct dm_ioctl`, and behind it room for one target with its text.
#[repr(C)]
struct Message {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    unused: [u8; 7],
    target: Target,
    text: [u8; TEXT],
}

/// `struct dm_target_spec`.
#[repr(C)]
struct Target {
    start: u64,
    length: u64,
    status: i32,
    next: u32,
    kind: [u8; 16],
}

/// Bytes for the parameters or the status of the target.
const TEXT: usize = 1024;
/// Bytes of `struct dm_ioctl` alone.
const HEADER: usize = 312;

impl Message {
    fn new(name: &str) -> Self {
        let mut message = Self {
            version: [4, 0, 0],
            data_size: u32::try_from(size_of::<Self>()).unwrap_or(0),
            data_start: u32::try_from(HEADER).unwrap_or(0),
            target_count: 0,
            open_count: 0,
            flags: 0,
            event: 0,
            padding: 0,
            device: 0,
            name: [0; 128],
            uuid: [0; 129],
            unused: [0; 7],
            target: Target {
                start: 0,
                length: 0,
                status: 0,
                next: 0,
                kind: [0; 16],
            },
            text: [0; TEXT],
        };
        put(&mut message.name, name.as_bytes());
        message
    }

    /// Sends it; the kernel writes its answer over it.
    fn send(mut self, request: libc::c_ulong) -> std::io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
        // SAFETY: the message has the layout of `struct dm_ioctl`, says how long it is with what
        // follows, and outlives the call.
        let code = unsafe { libc::ioctl(control.as_raw_fd(), request, &raw mut self) };
        match code {
            0.. => Ok(self),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

/// Copies `bytes` to the start of `field`, which stays ended by a zero.
fn put(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len() - 1);
    field[..length].copy_from_slice(&bytes[..length]);
}

/// What a device is to be.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    /// The name of the target.
    pub(crate) target: &'t str,
    /// How long the device is, in sectors of 512 bytes.
    pub(crate) sectors: u64,
    pub(crate) parameters: String,
    pub(crate) read_only: bool,
}

/// Makes the device `name`, and returns its path.
///
/// # Errors
/// The kernel refuses. No device is left then.
pub(crate) fn make(name: &str, table: &Table<'_>) -> Result<PathBuf> {
    let doing = || format!("making the {} device {name}", table.target);
    let mut load = Message::new(name);
    load.flags = if table.read_only { READ_ONLY } else { 0 };
    load.target_count = 1;
    load.target.length = table.sectors;
    put(&mut load.target.kind, table.target.as_bytes());
    put(&mut load.text, table.parameters.as_bytes());
    Message::new(name).send(CREATE).with_context(doing)?;
    let made = load
        .send(LOAD)
        .and_then(|_| Message::new(name).send(RESUME));
    match made {
        Ok(answer) => Ok(PathBuf::from(format!(
            "/dev/dm-{}",
            rustix::fs::minor(answer.device)
        ))),
        Err(error) => {
            let _ = remove(name);
            Err(error).with_context(doing)
        }
    }
}

/// Removes the device `name`.
///
/// # Errors
/// It is in use, or there is none.
pub(crate) fn remove(name: &str) -> Result<()> {
    let sent = Message::new(name).send(REMOVE);
    sent.map(drop)
        .with_context(|| format!("removing the device {name} of device-mapper"))
}

/// The target of the device `name`, and what that says of itself; nothing if it has not one.
///
/// # Errors
/// There is no such device.
pub(crate) fn status(name: &str) -> Result<Option<(String, String)>> {
    let answer = Message::new(name).send(STATUS)?;
    Ok((answer.target_count == 1).then(|| (text(&answer.target.kind), text(&answer.text))))
}

/// `MAJOR:MINOR` of a block device, as tables have it.
///
/// # Errors
/// It is not there.
pub(crate) fn number(device: &Path) -> Result<String> {
    let meta = File::open(device).and_then(|file| file.metadata());
    let number = meta
        .with_context(|| format!("finding {}", device.display()))?
        .rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    Ok(format!("{major}:{minor}"))
}

/// A device of device-mapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The devices that it is made of.
    pub(crate) below: Vec<PathBuf>,
}

/// All that there are.
///
/// # Errors
/// `/sys/block` cannot be read.
pub(crate) fn all() -> Result<Vec<Mapped>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").context("listing /sys/block")? {
        let entry = entry?;
        let Ok(name) = fs::read_to_string(entry.path().join("dm/name")) else {
            continue;
        };
        let below = fs::read_dir(entry.path().join("slaves"));
        let below = below.into_iter().flatten().flatten();
        found.push(Mapped {
            name: name.trim_end().to_owned(),
            path: Path::new("/dev").join(entry.file_name()),
            below: below
                .map(|it| Path::new("/dev").join(it.file_name()))
                .collect(),
        });
    }
    Ok(found)
}

/// What a field holds up to its zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_structures_have_the_layout_of_linux_dm_ioctl_h() {
        assert_eq!(offset_of!(Message, device), 40);
        assert_eq!(offset_of!(Message, name), 48);
        assert_eq!(offset_of!(Message, uuid), 176);
        assert_eq!(offset_of!(Message, target), HEADER);
        assert_eq!(size_of::<Target>(), 40);
        assert_eq!(offset_of!(Message, text), HEADER + 40);
    }

    #[test]
    fn a_text_that_is_too_long_stays_ended() {
        let mut field = [0xff; 4];
        field.fill(0);
        put(&mut field, b"verity");
        assert_eq!(&field, b"ver\0");
    }
}
