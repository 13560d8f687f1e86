// SPDX-License-Identifier: GPL-3.0-or-later
//! Finding the release's medium and the one config partition. Candidates are mounted read-only
//! and without replaying a journal: whatever is refused has not been written to.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use domus_model::boot::Verdict;
use domus_model::marker::{Identity, MARKER_LIMIT, MARKER_PATH, Marker};
use domus_model::names::Name;
use domus_repo::{Export, Judge, Repo, Statement};
use domus_system::block::{self, Content, Device};
use domus_system::kmod::Modules;
use domus_system::machine;
use domus_system::mount::{Mount, Mounted};

use crate::console;

/// How long to wait for the medium that this very kernel came from.
const MEDIUM_PATIENCE: Duration = Duration::from_secs(60);
/// No new device for this long: all that the firmware saw are here.
const QUIET: Duration = Duration::from_millis(500);
/// How long to go on looking when no partition fits.
const PARTITION_PATIENCE: Duration = Duration::from_secs(10);
/// Drivers of network cards, in a kernel's directory of modules.
const NETWORK: &str = "kernel/drivers/net/";
const LOOK: Duration = Duration::from_millis(50);

/// A config partition that fits.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) device: PathBuf,
    pub(crate) host: Name,
    pub(crate) bound_by: String,
}

/// Waits for the device whose ISO 9660 volume set carries the release's id.
pub(crate) fn medium(id: &str, modules: &mut Modules) -> Result<PathBuf> {
    let begin = Instant::now();
    loop {
        modules.load_for_devices();
        for device in block::devices()?
            .into_iter()
            .filter(|device| !device.partition)
        {
            if matches!(block::probe(&device.path), Ok(Content::Iso9660(set)) if set == id) {
                return Ok(device.path);
            }
        }
        if begin.elapsed() > MEDIUM_PATIENCE {
            let seen: Vec<String> = block::devices()?
                .iter()
                .map(|device| device.path.display().to_string())
                .collect();
            bail!(
                "domus: no medium carries the release {id} that this kernel came from\n  \
                 looked at: {}\n\
                 Is the drive's driver missing? `domus-boot retry` looks again.",
                if seen.is_empty() {
                    "no disk at all".into()
                } else {
                    seen.join(" ")
                }
            );
        }
        sleep(LOOK);
    }
}

/// What looking at every partition gave.
pub(crate) struct Search {
    /// Those that fit.
    pub(crate) fits: Vec<Candidate>,
    /// What was decided of each.
    pub(crate) verdicts: Vec<Verdict>,
    /// Who the machine is.
    pub(crate) machine: Identity,
}

/// Looks at every partition until one fits and no new one appears, or patience ends. `root`: the
/// release's root, for drivers that the initramfs does not carry.
pub(crate) fn partitions(
    judge: &Judge,
    medium: &Path,
    root: &Path,
    modules: &mut Modules,
) -> Result<Search> {
    let begin = Instant::now();
    let mut cards_known = false;
    loop {
        let machine = machine::identity();
        let mut fits = Vec::new();
        let mut verdicts = Vec::new();
        for device in settle(modules)?
            .iter()
            .filter(|device| !belongs_to(device, medium))
        {
            let (verdict, candidate) = look_at(device, judge, &machine);
            verdicts.push(verdict);
            fits.extend(candidate);
        }
        if !fits.is_empty() || begin.elapsed() > PARTITION_PATIENCE {
            return Ok(Search {
                fits,
                verdicts,
                machine,
            });
        }
        if !cards_known {
            // A marker may bind by MAC: network cards show theirs once their driver is there.
            for error in root_modules(root)?.load_for_devices_from(NETWORK) {
                console::say(format!("{error:#}"));
            }
            cards_known = true;
        }
    }
}

/// The modules of the release's root for the running kernel.
fn root_modules(root: &Path) -> Result<Modules> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    Modules::open(&root.join("usr/lib/modules").join(release))
}

/// The devices, once their number has not changed for [`QUIET`].
fn settle(modules: &mut Modules) -> Result<Vec<Device>> {
    let mut devices = block::devices()?;
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        sleep(LOOK);
        modules.load_for_devices();
        let now = block::devices()?;
        if now != devices {
            devices = now;
            since = Instant::now();
        }
    }
    Ok(devices)
}

/// Whether `device` is the medium, one of its partitions, or a disk that only holds partitions.
fn belongs_to(device: &Device, medium: &Path) -> bool {
    let name = device.path.to_string_lossy();
    let medium = medium.to_string_lossy();
    let number = name
        .strip_prefix(&*medium)
        .map(|rest| rest.trim_start_matches('p'));
    let of_medium = number.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()));
    device.partitioned || of_medium
}

/// Looks at one device for a marker that fits, and for a commit that may be run.
fn look_at(device: &Device, judge: &Judge, machine: &Identity) -> (Verdict, Option<Candidate>) {
    let short = device
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let (content, result) = match block::probe(&device.path) {
        Err(error) => ("-", Err(format!("unreadable: {}", error.root_cause()))),
        Ok(content) => {
            let result = match content {
                Content::Ext(claims) if claims > device.size => Err(format!(
                    "cut off: a file system of {claims} bytes on {} bytes",
                    device.size
                )),
                Content::Ext(_) => read_candidate(device, judge, |marker| {
                    marker.accept(judge.fleet(), machine)
                }),
                Content::Unknown => Err("no file system".into()),
                _ => Err("no ext4, so no config partition".into()),
            };
            (content.name(), result)
        }
    };
    let (taken, reason) = match &result {
        Ok(candidate) => (
            true,
            format!("host {}, by {}", candidate.host, candidate.bound_by),
        ),
        Err(reason) => (false, reason.clone()),
    };
    (
        Verdict {
            device: short,
            content: content.into(),
            taken,
            reason,
        },
        result.ok(),
    )
}

/// The partition that an operator named in the rescue shell: its marker need not fit this
/// machine, but it must be one.
pub(crate) fn by_hand(device: &Path, judge: &Judge) -> Result<Candidate, String> {
    let device = Device {
        path: device.to_owned(),
        size: 0,
        partition: true,
        partitioned: false,
    };
    read_candidate(&device, judge, |_| Ok("hand".into()))
}

/// Mounts a device read-only, reads its marker and looks whether there is something to run.
fn read_candidate(
    device: &Device,
    judge: &Judge,
    accept: impl Fn(&Marker) -> Result<String, String>,
) -> Result<Candidate, String> {
    let mut mount = Mount::read_only("ext4", &device.path);
    mount.flags.push("noload");
    let mounted = Mounted::new(&mount, Path::new("/run/domus/look"))
        .map_err(|error| format!("cannot be mounted: {}", error.root_cause()))?;
    let marker = read_marker(&mounted.path().join(MARKER_PATH))?;
    let bound_by = accept(&marker)?;
    something_to_run(&mounted.path().join("repo.git"), judge, &marker.host)
        .map_err(|error| format!("marker fits, but {error:#}"))?;
    Ok(Candidate {
        device: device.path.clone(),
        host: marker.host,
        bound_by,
    })
}

fn read_marker(path: &Path) -> Result<Marker, String> {
    let kind = path
        .symlink_metadata()
        .map_err(|_| "no marker".to_owned())?
        .file_type();
    if !kind.is_file() {
        return Err("marker is no regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MARKER_LIMIT as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("marker cannot be read: {error}"))?;
    Marker::parse(&bytes)
}

fn something_to_run(repo: &Path, judge: &Judge, host: &Name) -> Result<()> {
    let repo = Repo::open(repo)?;
    let has_host =
        |statement: &Statement| Export::new(&repo, &statement.commit.id)?.require_host(host);
    judge.choose(&repo, has_host).map(drop)
}
