// SPDX-License-Identifier: GPL-3.0-or-later
//! Data volumes of domUs: made and formatted once. Whatever is there already is never formatted,
//! whatever it holds.

mod device;
mod file;
mod lvm;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use domus_model::fleet::{Backing, Disk, VolumePool};
use domus_model::units::Size;
use domus_system::block::{self, Content};
use domus_system::program::Program;

use crate::paths::Paths;

/// Longest label of an ext4, in bytes (ext4(5)).
const LABEL: usize = 16;

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
        mount: None,
    };
    lvm::prepare(group, name, size, &disk)
}

/// A volume that a guest may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A file, which needs a loop device.
    File(PathBuf),
    /// A block device.
    Device(PathBuf),
}

/// What `disk` is kept on: made if it is a volume and there is none.
///
/// # Errors
/// It cannot be made or found, or what is there is not what the guest would mount.
pub(crate) fn prepare(paths: &Paths, pool: &VolumePool, disk: &Disk) -> Result<Volume> {
    let (name, size) = match &disk.backing {
        Backing::Volume { name, size } => (name, *size),
        Backing::Device { path } => {
            return device::prepare(&paths.at(path), disk).map(Volume::Device);
        }
    };
    match pool {
        VolumePool::Directory(dir) => {
            file::prepare(&paths.at(dir), name, size, disk).map(Volume::File)
        }
        VolumePool::VolumeGroup(group) => lvm::prepare(group, name, size, disk).map(Volume::Device),
    }
}

/// Makes an ext4 on `target`.
fn format(target: &Path, disk: &Disk) -> Result<()> {
    let label: String = disk.name.as_str().chars().take(LABEL).collect();
    Program::new("mke2fs")
        .args(["-q", "-t", "ext4", "-L", &label])
        .arg(target)
        .run()
}

/// Makes sure that the guest can mount the volume where its document says. A disk that has no
/// mount point is the guest's to fill as it likes.
fn examine(volume: &Path, disk: &Disk) -> Result<()> {
    let Some(mount) = &disk.mount else {
        return Ok(());
    };
    let shown = volume.display();
    let what = match block::probe(volume)? {
        Content::FileSystem(found) if found.kind == "ext4" => {
            let (claims, size) = (found.size, size(volume)?);
            if claims > size {
                bail!("the volume {shown} is cut off: a file system of {claims} bytes on {size}");
            }
            return Ok(());
        }
        Content::Unknown => "nothing that is known".to_owned(),
        other => other.name().to_owned(),
    };
    bail!(
        "the volume {shown} holds {what}, and no ext4 to mount on {mount}: it is left as it is; \
         rename it and a new one is made, or format it yourself"
    )
}

fn size(volume: &Path) -> Result<u64> {
    let end = File::open(volume).and_then(|mut file| file.seek(SeekFrom::End(0)));
    end.with_context(|| format!("measuring {}", volume.display()))
}
