// SPDX-License-Identifier: GPL-3.0-or-later
//! The config partition of a host, as `domus-boot` looks for it: on a disk of its own, on a medium
//! with the release, in a rehearsal; and the read-only seed with the same content. There is one way
//! of gathering it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_build::files::{self, Added, What};
use domus_build::roottar;
use domus_build::toolroot::ToolRoot;
use domus_model::boot::HOST_KEY;
use domus_model::fleet::{CONFIG_SLACK, DomU, Fleet, Host};
use domus_model::lock::Sha256;
use domus_model::manifest::{IMAGE_MANIFEST, ImageManifest};
use domus_model::marker::{CONFIG_LABEL, MARKER_PATH, Marker};
use domus_model::names::ImageRef;
use domus_repo::Repo;
use domus_system::atomic::Pending;
use domus_system::digest;
use domus_system::program::Program;
use tempfile::TempDir;
use uuid::Uuid;

use crate::partitions::{self, Kind, MIB, Partition, TAIL};
use crate::xorriso;

/// What a disk has beside its one partition, in bytes.
pub const DISK_OVERHEAD: u64 = MIB + TAIL;
/// What an entry of an archive has beside its content, in bytes: headers, and a name that is long.
const HEADERS: u64 = 1536;

/// What a host is configured with.
#[derive(Debug, Clone, Copy)]
pub struct Configuration<'a> {
    /// The fleet at the commit.
    pub fleet: &'a Fleet,
    /// The host.
    pub host: &'a Host,
    /// The commit.
    pub commit: &'a str,
    /// What says that the host shall run it: a target, or the commit itself.
    pub statement: &'a str,
    /// The repository that has it.
    pub repo: &'a Path,
    /// Where the images of a domU are, by reference.
    pub images: &'a dyn Images,
    /// The host's private SSH key, if it is not to make one.
    pub host_key: Option<&'a Path>,
}

/// Finds the directory of a built image.
pub trait Images: std::fmt::Debug {
    /// The directory of `image`, which may not exist.
    fn dir(&self, image: &ImageRef) -> PathBuf;
}

/// What goes onto a config partition, gathered.
#[derive(Debug)]
pub struct Content {
    scratch: TempDir,
    added: Vec<Added>,
    /// Bytes that the partition must have at least, with room for the data volumes of the domUs.
    pub needs: u64,
}

impl Content {
    /// Gathers marker, repository with the running commit, images of the host's domUs, and its key
    /// if one is given. `scratch`: a directory with room for it.
    ///
    /// # Errors
    /// An image was not built, the commit is not there, or the disk is full.
    pub fn gather(configuration: &Configuration<'_>, scratch: &Path) -> Result<Self> {
        let doing = || {
            let (host, place) = (&configuration.host.name, scratch.display());
            format!("gathering the configuration of {host} in {place}")
        };
        std::fs::create_dir_all(scratch).with_context(doing)?;
        let dir = tempfile::tempdir_in(scratch).with_context(doing)?;
        let bare = dir.path().join("repo.git");
        let repo = Repo::open(configuration.repo)?;
        domus_repo::carry(&repo, configuration.statement, &bare)?;
        let marker = Marker::for_host(&configuration.fleet.name, configuration.host);
        let mut added = vec![Added::text(MARKER_PATH, marker.render())];
        for directory in ["global", "local", "state", "images", "repo.git"] {
            added.push(Added::directory(directory));
        }
        if let Some(key) = configuration.host_key {
            let path = HOST_KEY.trim_start_matches("/config/").to_owned();
            let what = What::File(key.to_owned(), String::new(), 0o600);
            added.push(Added::directory("state/ssh"));
            added.push(Added { path, what });
        }
        for mut entry in files::from_directory(&bare)? {
            entry.path = format!("repo.git/{}", entry.path);
            added.push(entry);
        }
        added.extend(images(configuration)?);
        let mut needs = configuration.host.volumes_on_config() + CONFIG_SLACK;
        for entry in &added {
            needs += HEADERS + size(&entry.what)?.next_multiple_of(512);
        }
        Ok(Self {
            scratch: dir,
            added,
            needs: needs.next_multiple_of(MIB),
        })
    }

    /// Makes `to` a read-only seed with this: an ISO 9660. `id`, of 64 hexadecimal digits, is where
    /// its UUID comes from.
    ///
    /// # Errors
    /// The disk is full.
    pub fn seed(&self, tools: &ToolRoot, id: &str, to: &Path) -> Result<()> {
        let doing = || format!("making the seed {}", to.display());
        let tree = self.scratch.path().join("seed");
        files::lay(&tree, &self.added).with_context(doing)?;
        let pending = Pending::new(to)?;
        xorriso::write_data(tools, id, &tree, pending.temporary())?;
        pending.commit(0o600)
    }

    /// Makes the file system of it at `offset` of the disk or image `to`, `size` bytes long. Its
    /// UUID is derived from `seed`, or random without one.
    ///
    /// # Errors
    /// mke2fs fails.
    pub(crate) fn format(
        &self,
        tools: &ToolRoot,
        to: &Path,
        (offset, size): (u64, u64),
        seed: Option<Uuid>,
    ) -> Result<()> {
        let tar = self.scratch.path().join("config.tar");
        roottar::write(&tar, &self.added)
            .with_context(|| format!("packing its content in {}", self.scratch.path().display()))?;
        let mut extended = format!("offset={offset}");
        let mut uuid = "random".to_owned();
        if let Some(seed) = seed {
            uuid = Uuid::new_v5(&seed, b"file system").to_string();
            extended += &format!(",hash_seed={uuid}");
        }
        // -F: it is no partition as the kernel knows them, but a place on a disk.
        tools
            .program("mke2fs")?
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-L",
                CONFIG_LABEL,
                "-U",
                &uuid,
                "-d",
            ])
            .arg(tar)
            .args(["-E", &extended])
            .arg(to)
            .arg(format!("{}k", size / 1024))
            .run()
            .context("making its file system")
    }

    /// Makes `to` a disk that holds nothing but this.
    ///
    /// # Errors
    /// The disk is full.
    pub fn disk(&self, tools: &ToolRoot, to: &Path) -> Result<()> {
        let doing = || format!("making the config disk {}", to.display());
        let mut pending = Pending::new(to)?;
        let partition = Partition {
            size: Some(self.needs),
            ..partition()
        };
        let length = self.needs + DISK_OVERHEAD;
        pending.file().set_len(length).with_context(doing)?;
        partitions::write(tools, pending.temporary(), &[partition], None)?;
        let place = (partition.start, self.needs);
        self.format(tools, pending.temporary(), place, None)
            .with_context(doing)?;
        pending.commit(0o600)
    }

    /// Makes the disk `to` hold nothing but this, over its whole length, and reads it back.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn device(&self, tools: &ToolRoot, to: &Path, size: u64) -> Result<()> {
        let partition = partition();
        let room = (size - DISK_OVERHEAD) / MIB * MIB;
        partitions::write(tools, to, &[partition], None)?;
        self.format(tools, to, (partition.start, room), None)
            .with_context(|| format!("making the config partition on {}", to.display()))?;
        check(tools, to, partition.start)
    }
}

/// The one partition of a disk that holds nothing else.
fn partition() -> Partition {
    Partition {
        name: CONFIG_LABEL,
        kind: Kind::Linux,
        start: MIB,
        size: None,
    }
}

/// Reads a config partition back.
fn check(tools: &ToolRoot, disk: &Path, offset: u64) -> Result<()> {
    let place = format!("{}?offset={offset}", disk.display());
    let program: Program = tools.program("e2fsck")?.args(["-f", "-n", &place]);
    program
        .run()
        .with_context(|| format!("reading the config partition on {} back", disk.display()))
}

/// Bytes of a file.
fn size(what: &What) -> Result<u64> {
    Ok(match what {
        What::Bytes(bytes, _) => bytes.len() as u64,
        What::File(path, ..) => {
            let meta = path.metadata();
            meta.with_context(|| format!("reading {}", path.display()))?
                .len()
        }
        What::Directory | What::Link(_) => 0,
    })
}

/// The images that the host's domUs are given.
fn images(configuration: &Configuration<'_>) -> Result<Vec<Added>> {
    let domus = configuration.host.domus.values();
    let wanted: BTreeSet<_> = domus.flat_map(DomU::images).collect();
    let mut added = Vec::new();
    for image in wanted {
        let dir = configuration.images.dir(image);
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
        let locked = configuration.fleet.locked.images.get(image);
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
