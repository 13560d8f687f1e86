// SPDX-License-Identifier: GPL-3.0-or-later
//! Loop devices: a file as a block device. Interface: `linux/loop.h`, `LOOP_CONFIGURE` (Linux 5.8).
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const LOOP_CHANGE_FD: libc::c_ulong = 0x4C06;
const LOOP_SET_CAPACITY: libc::c_ulong = 0x4C07;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
/// How often another process may take the free device that the kernel named to us.
const RACES: u32 = 64;

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// Attaches `file` and returns the device. One that already shows the same file, read-only or
/// not as asked, is used again.
///
/// # Errors
/// The file cannot be opened, or the kernel has no loop device to give.
pub fn attach(file: &Path, read_only: bool) -> Result<PathBuf> {
    let file = file
        .canonicalize()
        .with_context(|| format!("finding {}", file.display()))?;
    if let Some(device) = find(&file, read_only)? {
        return Ok(device);
    }
    let doing = || format!("attaching {} to a loop device", file.display());
    let backing = OpenOptions::new()
        .read(true)
        .write(!read_only)
        .open(&file)
        .with_context(doing)?;
    let control = open_control().with_context(doing)?;
    for _ in 0..RACES {
        // SAFETY: this request takes no argument and touches no memory of ours.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(std::io::Error::last_os_error()).with_context(doing);
        }
        let device = PathBuf::from(format!("/dev/loop{number}"));
        match configure(&device, &backing, read_only) {
            Ok(()) => return Ok(device),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error).with_context(doing),
        }
    }
    bail!("{}: other processes took every free one", doing())
}

/// Detaches `device`. The kernel waits for its last user.
///
/// # Errors
/// It is not attached, or the kernel refuses.
pub fn detach(device: &Path) -> Result<()> {
    let doing = || format!("detaching {}", device.display());
    request(device, LOOP_CLR_FD).with_context(doing)
}

/// Lets `device` have the size that the file behind it has now.
///
/// # Errors
/// It is not attached, or the kernel refuses.
pub fn resize(device: &Path) -> Result<()> {
    let doing = || format!("giving {} the size of its file", device.display());
    request(device, LOOP_SET_CAPACITY).with_context(doing)
}

/// Puts `file` behind `device`, which is read-only, in place of the file that is. Whoever reads the device
/// goes on, and reads the new one.
///
/// # Errors
/// The new file has another size than the old one, the device is not read-only, or is not attached.
pub fn change(device: &Path, file: &Path) -> Result<()> {
    let doing = || format!("putting {} behind {}", file.display(), device.display());
    let backing = File::open(file).with_context(doing)?;
    let device = File::open(device).with_context(doing)?;
    // SAFETY: the request takes a file descriptor and touches no memory of ours.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CHANGE_FD, backing.as_raw_fd()) } {
        ..0 => Err(std::io::Error::last_os_error()).with_context(doing),
        _ => Ok(()),
    }
}

/// Asks the kernel for one of those that say all by their number.
fn request(device: &Path, number: libc::Ioctl) -> std::io::Result<()> {
    let file = File::open(device)?;
    // SAFETY: these requests take no argument and touch no memory of ours.
    match unsafe { libc::ioctl(file.as_raw_fd(), number) } {
        ..0 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Every attached loop device with the file behind it and whether it is read-only.
///
/// # Errors
/// `/sys/block` cannot be read.
pub fn attached() -> Result<Vec<(PathBuf, PathBuf, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").context("listing /sys/block")? {
        let entry = entry?;
        let Ok(file) = fs::read_to_string(entry.path().join("loop/backing_file")) else {
            continue;
        };
        let read_only = fs::read_to_string(entry.path().join("ro")).is_ok_and(|s| s.trim() == "1");
        let device = Path::new("/dev").join(entry.file_name());
        found.push((
            device,
            PathBuf::from(file.trim_end_matches('\n')),
            read_only,
        ));
    }
    Ok(found)
}

fn find(file: &Path, read_only: bool) -> Result<Option<PathBuf>> {
    let mut devices = attached()?.into_iter();
    Ok(devices
        .find(|(_, backing, ro)| backing == file && *ro == read_only)
        .map(|found| found.0))
}

fn open_control() -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
}

fn configure(device: &Path, backing: &File, read_only: bool) -> std::io::Result<()> {
    let device = OpenOptions::new()
        .read(true)
        .write(!read_only)
        .open(device)?;
    let mut config = Config {
        fd: backing.as_raw_fd().unsigned_abs(),
        block_size: 0,
        info: Info {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: if read_only { LO_FLAGS_READ_ONLY } else { 0 },
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` has the layout of `struct loop_config` and outlives the call.
    let code = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw mut config) };
    if code < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_structures_have_the_sizes_of_linux_loop_h() {
        assert_eq!(size_of::<super::Info>(), 232);
        assert_eq!(size_of::<super::Config>(), 304);
    }
}
