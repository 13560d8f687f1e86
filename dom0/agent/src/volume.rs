// SPDX-License-Identifier: GPL-3.0-or-later
//! Data volumes of domUs: made and formatted once. Whatever is there already is never formatted,
//! whatever it holds.

mod file;
mod lvm;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use domus_model::fleet::{Disk, VolumePool};
use domus_model::names::Name;
use domus_system::block::{self, Content};
use domus_system::program::Program;

use crate::paths::Paths;

/// Longest label of an ext4, in bytes (ext4(5)).
const LABEL: usize = 16;

/// A volume that a guest may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A file, which needs a loop device.
    File(PathBuf),
    /// A block device.
    Device(PathBuf),
}

/// The volume for `disk` of the domU `domu`: made if there is none.
///
/// # Errors
/// It cannot be made, or what is there is not what the guest would mount.
pub(crate) fn prepare(
    paths: &Paths,
    pool: &VolumePool,
    domu: &Name,
    disk: &Disk,
) -> Result<Volume> {
    let name = volume_name(domu, &disk.name);
    match pool {
        VolumePool::Directory(dir) => file::prepare(&paths.at(dir), &name, disk).map(Volume::File),
        VolumePool::VolumeGroup(group) => lvm::prepare(group, &name, disk).map(Volume::Device),
    }
}

/// The name of a volume. A dot stands between, because names have none: with a hyphen the disk
/// `b-c` of `a` and the disk `c` of `a-b` would be one.
fn volume_name(domu: &Name, disk: &Name) -> String {
    format!("{domu}.{disk}")
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
        Content::Ext(claims) => {
            let size = size(volume)?;
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
