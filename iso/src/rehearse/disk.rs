// SPDX-License-Identifier: GPL-3.0-or-later
//! A disk with one partition: the config partition of a host, as `domus-boot` looks for it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_build::files::{self, Added, What};
use domus_build::roottar;
use domus_build::toolroot::ToolRoot;
use domus_model::boot::HOST_KEY;
use domus_model::fleet::{Backing, Disk, VolumePool};
use domus_model::lock::Sha256;
use domus_model::manifest::{IMAGE_MANIFEST, ImageManifest};
use domus_model::marker::{MARKER_PATH, Marker};
use domus_repo::Repo;
use domus_system::atomic::Pending;
use domus_system::digest;

use super::Script;

const MIB: u64 = 1 << 20;
/// Free space for repository, state and file system, in bytes.
const SLACK: u64 = 64 * MIB;

/// Writes the disk `to`: marker, repository with the running commit, images of the host's domUs,
/// and its key if one is given.
///
/// # Errors
/// An image was not built, the commit is not there, or the disk is full.
pub fn config_disk(script: &Script<'_>, tools: &ToolRoot, to: &Path) -> Result<()> {
    let doing = || format!("making the config disk {}", to.display());
    let scratch =
        tempfile::tempdir_in(to.parent().unwrap_or(Path::new("."))).with_context(doing)?;
    let bare = scratch.path().join("repo.git");
    domus_repo::carry(&Repo::open(script.repo)?, script.statement, &bare)?;
    let marker = Marker::for_host(&script.fleet.name, script.host).render();
    let mut added = vec![
        Added::text(MARKER_PATH, marker),
        Added::directory("global"),
        Added::directory("local"),
        Added::directory("state"),
        Added::directory("images"),
        Added::directory("repo.git"),
    ];
    if let Some(key) = script.host_key {
        let path = HOST_KEY.trim_start_matches("/config/").to_owned();
        let what = What::File(key.to_owned(), String::new(), 0o600);
        added.push(Added::directory("state/ssh"));
        added.push(Added { path, what });
    }
    for mut entry in files::from_directory(&bare)? {
        entry.path = format!("repo.git/{}", entry.path);
        added.push(entry);
    }
    added.extend(images(script)?);
    let tar = scratch.path().join("config.tar");
    roottar::write(&tar, &added).with_context(doing)?;
    let size = (tar.metadata()?.len() + volumes(script) + SLACK).next_multiple_of(MIB);
    let pending = Pending::new(to)?;
    partitioned(pending.temporary(), size).with_context(doing)?;
    tools
        .program("mke2fs")?
        .args(["-q", "-t", "ext4", "-L", "domus-config", "-d"])
        .arg(&tar)
        .args(["-E", &format!("offset={MIB}")])
        .arg(pending.temporary())
        .arg(format!("{}k", size / 1024))
        .run()
        .with_context(doing)?;
    pending.commit(0o600)
}

/// The images that the host's domUs start from.
fn images(script: &Script<'_>) -> Result<Vec<Added>> {
    let wanted: BTreeSet<_> = script.host.domus.values().map(|domu| &domu.image).collect();
    let mut added = Vec::new();
    for image in wanted {
        let dir = script.images.dir(image);
        let manifest = dir.join(IMAGE_MANIFEST);
        let text = std::fs::read(&manifest).with_context(|| {
            let name = &image.name;
            format!(
                "{image} is not built ({}): `domus image build {name}`",
                manifest.display()
            )
        })?;
        let parsed: ImageManifest = serde_json::from_slice(&text)
            .with_context(|| format!("reading {}", manifest.display()))?;
        let locked = script.fleet.locked.images.get(image);
        if let Some(locked) = locked.map(Sha256::hex) {
            let built = digest::of_bytes(&text);
            ensure!(
                built == locked,
                "the commit's domus.lock has {image} as sha256:{locked}, and {} is \
                 sha256:{built}: build the image and commit domus.lock",
                manifest.display()
            );
        }
        added.push(Added::directory(&format!("images/{image}")));
        for name in parsed
            .files
            .keys()
            .map(String::as_str)
            .chain([IMAGE_MANIFEST])
        {
            let what = What::File(dir.join(name), String::new(), 0o644);
            added.push(Added {
                path: format!("images/{image}/{name}"),
                what,
            });
        }
    }
    Ok(added)
}

/// Room for data volumes that live on the config partition, in bytes.
fn volumes(script: &Script<'_>) -> u64 {
    match &script.host.storage.domus {
        VolumePool::VolumeGroup(_) => 0,
        VolumePool::Directory(_) => {
            let disks = script.host.domus.values().flat_map(|domu| &domu.disks);
            let size = |disk: &Disk| match &disk.backing {
                Backing::Volume { size, .. } => size.bytes() + 8 * MIB,
                Backing::Device { .. } => 0,
            };
            disks.map(size).sum()
        }
    }
}

/// A sparse disk with an MBR and one Linux partition of `size` bytes that begins at 1 MiB.
pub(crate) fn partitioned(to: &Path, size: u64) -> Result<()> {
    let sector = |bytes: u64| u32::try_from(bytes / 512).unwrap_or(u32::MAX).to_le_bytes();
    let mut table = [0; 66];
    table[4] = 0x83;
    table[8..12].copy_from_slice(&sector(MIB));
    table[12..16].copy_from_slice(&sector(size));
    table[64..].copy_from_slice(&[0x55, 0xaa]);
    let mut file = File::create(to)?;
    file.set_len(MIB + size)?;
    file.seek(SeekFrom::Start(446))?;
    Ok(file.write_all(&table)?)
}
