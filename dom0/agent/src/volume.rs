// SPDX-License-Identifier: GPL-3.0-or-later
//! Data volumes of domUs: made and formatted once. Whatever is there already is never formatted,
//! whatever it holds; it grows, and never shrinks.

mod backup;
mod claim;
mod copy;
mod device;
mod file;
mod format;
mod look;
mod lvm;
mod verbs;

pub(crate) use look::{Look, orphans_of, runs};
pub(crate) use verbs::run;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use domus_model::fleet::{Backing, Disk, Fs, VolumePool};
use domus_model::units::Size;
use domus_system::block::{self, Content};

use crate::paths::Paths;

use claim::Claim;

/// The logical volume `name` of the host itself in the volume group `group`: made if there is none,
/// with an ext4 then.
///
/// # Errors
/// It cannot be made or found.
pub(crate) fn of_host(group: &str, name: &str, size: Size) -> Result<PathBuf> {
    let label = name.trim_start_matches('_').parse()?;
    let backing = Backing::Volume {
        name: name.to_owned(),
        size,
    };
    let disk = Disk {
        name: label,
        backing,
        fs: Fs::Ext4,
        mount: None,
    };
    lvm::prepare(group, name, size, &disk)
}

/// A volume that a guest may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A file, which needs a loop device.
    File(PathBuf),
    /// The same, which is not written to.
    ReadOnly(PathBuf),
    /// A block device.
    Device(PathBuf),
}

/// What `disk` is kept on: made if it is a volume and there is none, and as large as it should be.
///
/// # Errors
/// It cannot be made or found, it is an image, or what is there is not what the guest would use.
pub(crate) fn prepare(paths: &Paths, pool: &VolumePool, disk: &Disk) -> Result<Volume> {
    let (name, size) = match &disk.backing {
        Backing::Volume { name, size } => (name, *size),
        Backing::Device { path } => {
            let _claim = to_itself(paths, path)?;
            return device::prepare(&paths.at(path), disk).map(Volume::Device);
        }
        Backing::Image { image } => bail!("{image} is an image, no volume"),
    };
    let _claim = to_itself(paths, name)?;
    let volume = match pool {
        VolumePool::Directory(dir) => {
            Volume::File(file::prepare(&paths.at(dir), name, size, disk)?)
        }
        VolumePool::VolumeGroup(group) => Volume::Device(lvm::prepare(group, name, size, disk)?),
    };
    grow(paths, pool, disk)?;
    Ok(volume)
}

/// Whoever copies a volume began before the domU that is to have it now was started: it waits.
fn to_itself(paths: &Paths, name: &str) -> Result<Claim> {
    let claim = Claim::alone(paths, name)?;
    claim.with_context(|| {
        format!("the volume {name} is being copied: it can be had when that is done")
    })
}

/// Lets the volume of `disk`, which is there, grow to the size that it should have, also while a
/// guest has it. The file system on it is the guest's to grow.
///
/// # Errors
/// There is no room, or it is not there.
pub(crate) fn grow(paths: &Paths, pool: &VolumePool, disk: &Disk) -> Result<()> {
    let Backing::Volume { name, size: wanted } = &disk.backing else {
        return Ok(());
    };
    match pool {
        VolumePool::Directory(dir) => file::grow(&paths.at(dir), name, *wanted),
        VolumePool::VolumeGroup(group) => lvm::grow(group, name, *wanted),
    }
}

/// Why a guest cannot use a volume.
struct Misfit {
    /// What is not as it should be: follows the volume's name.
    why: String,
    /// What can be done about one that has been there before.
    advice: &'static str,
}

/// Makes sure that the guest can use the volume as its document says.
fn examine(volume: &Path, disk: &Disk) -> Result<()> {
    match misfit(volume, disk)? {
        None => Ok(()),
        Some(Misfit { why, advice }) => bail!("the volume {} {why}{advice}", volume.display()),
    }
}

/// Why a guest cannot use the volume as its document says, if it cannot. A disk that it neither mounts
/// nor swaps to is its own to fill as it likes.
fn misfit(volume: &Path, disk: &Disk) -> Result<Option<Misfit>> {
    let what = match (&disk.mount, disk.fs) {
        (_, Fs::Swap) => "swap".to_owned(),
        (Some(mount), fs) => format!("{fs} to mount on {mount}"),
        (None, _) => return Ok(None),
    };
    let found = match block::probe(volume)? {
        Content::FileSystem(found) if found.kind == disk.fs.to_string() => {
            let (claims, size) = (found.size, size(volume)?);
            let why = format!("is cut off: a file system of {claims} bytes on {size}");
            return Ok((claims > size).then_some(Misfit { why, advice: "" }));
        }
        Content::Other("swap") if disk.fs == Fs::Swap => return Ok(None),
        Content::Unknown => "nothing that is known".to_owned(),
        other => other.name().to_owned(),
    };
    let why = format!("holds {found}, and no {what}");
    let advice = ": it is left as it is; rename it and a new one is made, or format it yourself";
    Ok(Some(Misfit { why, advice }))
}

fn size(volume: &Path) -> Result<u64> {
    let end = File::open(volume).and_then(|mut file| file.seek(SeekFrom::End(0)));
    end.with_context(|| format!("measuring {}", volume.display()))
}
