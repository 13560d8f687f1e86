// SPDX-License-Identifier: GPL-3.0-or-later
//! Finding the release's medium and the one config partition, or the seed that stands in for one.
//! Candidates are mounted read-only and without replaying a journal: whatever is refused has not
//! been written to.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use domus_model::boot::BY_HAND;
use domus_model::discovery::{self, Bound, DiskName, Finding, Seen};
use domus_model::marker::{CONFIG_LABEL, Identity, MARKER_LIMIT, MARKER_PATH, Marker};
use domus_model::names::Name;
use domus_model::started::{Carrier, Origin, Place, Started};
use domus_repo::{Export, Judge, Repo, Statement};
use domus_system::block::{self, Content, Device, FileSystem};
use domus_system::kmod::Modules;
use domus_system::machine;
use domus_system::mount::{Attributes, Mount, Mounted};
use domus_system::slots::Medium;

use crate::console;

/// How long to wait for the medium that this very kernel came from.
const MEDIUM_PATIENCE: Duration = Duration::from_secs(60);
/// Nothing new for this long: all that the firmware saw are here.
const QUIET: Duration = Duration::from_secs(1);
/// So long at most a USB stick may take from being known to showing its disk.
const STICK: Duration = Duration::from_secs(10);
/// What the kernel reads a vfat with; the initramfs has none of it.
const VFAT: [&str; 3] = ["vfat", "nls_cp437", "nls_ascii"];
/// Drivers of network cards, in a kernel's directory of modules.
const NETWORK: &str = "kernel/drivers/net/";
const LOOK: Duration = Duration::from_millis(50);

/// The config partition, or the seed, that is taken.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) device: PathBuf,
    /// `ext4` or `xfs`; of a seed `vfat` or `iso9660`.
    pub(crate) kind: &'static str,
    /// Whether it is a seed.
    pub(crate) is_seed: bool,
    pub(crate) bound: Bound,
    /// Whether its superblock has to be repaired first.
    pub(crate) is_damaged: bool,
}

/// Waits for the device whose ISO 9660 volume set carries the release's id: a disc or stick, or a
/// slot of a medium that holds the configuration as well; and says which slot.
pub(crate) fn medium(id: &str, started: &Started, modules: &mut Modules) -> Result<Origin> {
    let begin = Instant::now();
    loop {
        modules.load_for_devices();
        let devices = block::devices()?;
        let is_it = |device: &&Device| matches!(block::probe(&device.path), Ok(Content::Iso9660(set, _)) if set == id);
        let carriers = devices.iter().filter(is_it);
        let carriers: Vec<Carrier> = carriers.map(|it| carrier(it, &devices)).collect();
        let partitions: Vec<String> = devices.iter().filter_map(partition).collect();
        if let Some(origin) = started.choose(&carriers, &partitions) {
            return Ok(origin);
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

/// What there is to know of a device with the release, whatever of it can be read.
fn carrier(device: &Device, devices: &[Device]) -> Carrier {
    let medium = Medium::of(Path::new("/"), &device.path).ok().flatten();
    let place = medium.map(|medium| {
        let loader = devices.iter().find(|it| it.path == medium.loader());
        Place {
            slot: medium.slot,
            loader: loader.and_then(partition),
            choice: medium.choice().ok(),
        }
    });
    Carrier {
        device: device.path.clone(),
        place,
    }
}

/// The id of a partition. A table that cannot be read gives it none.
fn partition(device: &Device) -> Option<String> {
    block::partition_id(device).ok().flatten()
}

/// What looking at every partition gave.
pub(crate) struct Search {
    /// What was found on each.
    pub(crate) seen: Vec<Seen>,
    /// Who the machine is.
    pub(crate) machine: Identity,
}

/// What is looked for.
pub(crate) struct Wanted<'a> {
    pub(crate) judge: &'a Judge,
    /// The release's id: what carries it is the medium.
    pub(crate) release: &'a str,
    /// The release's root, for drivers that the initramfs does not carry.
    pub(crate) root: &'a Path,
    /// What the kernel command line asks for.
    pub(crate) named: Option<&'a DiskName>,
    /// How long to go on looking when nothing fits.
    pub(crate) patience: Duration,
}

impl Wanted<'_> {
    /// Looks at every partition until one fits and no new one appears, or patience ends. Seeds are
    /// looked at then: until the last moment a config partition may come, which has a newer commit.
    /// One that is named may be a seed.
    pub(crate) fn search(&self, modules: &mut Modules) -> Result<Search> {
        let begin = Instant::now();
        let mut cards_known = false;
        loop {
            let machine = machine::identity();
            let devices = settle(modules)?;
            let is_last = begin.elapsed() > self.patience;
            let mut seen = self.look(&devices, &machine, self.named.is_some());
            let found = discovery::choose(&seen, self.named).is_ok() || self.is_ambiguous(&seen);
            if is_last && !found {
                seen = self.look(&devices, &machine, true);
            }
            if found || is_last {
                return Ok(Search { seen, machine });
            }
            if !cards_known {
                // A marker may bind by MAC: network cards show theirs once their driver is there.
                for error in root_modules(self.root)?.load_for_devices_from(NETWORK) {
                    console::say(format!("{error:#}"));
                }
                cards_known = true;
            }
        }
    }

    /// Whether more disks will not help: several fit already.
    fn is_ambiguous(&self, seen: &[Seen]) -> bool {
        let fits = |seen: &&Seen| matches!(seen.finding, Finding::Fits(_));
        self.named.is_none() && seen.iter().filter(fits).count() > 1
    }

    /// Looks at all that are no mere places of partitions. `seeds`: whether at seeds as well.
    fn look(&self, devices: &[Device], machine: &Identity, seeds: bool) -> Vec<Seen> {
        let disks = devices.iter().filter(|device| !device.partitioned);
        disks
            .filter_map(|device| self.look_at(device, machine, seeds))
            .collect()
    }

    /// Looks at one device for a marker that fits, and for a commit that may be run; not at the
    /// medium.
    fn look_at(&self, device: &Device, machine: &Identity, seeds: bool) -> Option<Seen> {
        let (content, names, finding) = match block::probe(&device.path) {
            Err(error) => {
                let reason = format!("unreadable: {}", error.root_cause());
                ("-", Vec::new(), Finding::Refused(reason))
            }
            Ok(Content::Iso9660(set, _)) if set == self.release => return None,
            Ok(content) => {
                let finding = match &content {
                    Content::FileSystem(found) | Content::Iso9660(_, found)
                        if found.is_of_seeds() && !seeds =>
                    {
                        Some(Finding::Refused(NO_SEED_YET.into()))
                    }
                    Content::FileSystem(found) | Content::Iso9660(_, found) => {
                        self.look_into(device, found, machine)
                    }
                    Content::Unknown => self.look_into_copy(device, machine),
                    Content::Other(_) => None,
                };
                let finding = finding.unwrap_or_else(|| Finding::Refused(foreign(&content)));
                (content.name(), names(device, &content), finding)
            }
        };
        let short = device.path.file_name().unwrap_or_default();
        Some(Seen {
            device: short.to_string_lossy().into_owned(),
            content: content.into(),
            names,
            finding,
        })
    }

    fn look_into(
        &self,
        device: &Device,
        found: &FileSystem,
        machine: &Identity,
    ) -> Option<Finding> {
        if found.size > device.size {
            let (claims, size) = (found.size, device.size);
            return Some(unreadable(
                found,
                format!("cut off: a file system of {claims} bytes on {size} bytes"),
            ));
        }
        let mounted = match look(&device.path, found, self.root) {
            Ok(mounted) => mounted,
            Err(reason) => {
                let has_copy = found.copy.is_none() && !found.is_of_seeds();
                let copied = has_copy.then(|| self.look_into_copy(device, machine));
                return copied.flatten().or(Some(unreadable(found, reason)));
            }
        };
        let accept = |marker: &Marker| marker.accept(self.judge.fleet(), machine);
        let but = |why: String| format!("marker fits, but {why}");
        Some(match read_candidate(mounted.path(), self.judge, accept) {
            Ok((bound, Ok(()))) if found.is_of_seeds() => Finding::Seed(bound),
            Ok((_, Err(why))) if found.is_of_seeds() => Finding::Refused(but(why)),
            Ok((bound, Ok(()))) if found.copy.is_some() => Finding::Damaged(bound),
            Ok((bound, Ok(()))) => Finding::Fits(bound),
            Ok((bound, Err(why))) if found.journal => Finding::Unsettled(bound, why),
            Ok((_, Err(why))) => Finding::Broken(but(why)),
            Err(reason) => Finding::Refused(reason),
        })
    }

    /// The same by a copy of the superblock; nothing where there is none that may be taken.
    fn look_into_copy(&self, device: &Device, machine: &Identity) -> Option<Finding> {
        let found = block::from_copy(&device.path).ok().flatten()?;
        let finding = self.look_into(device, &found, machine);
        finding.filter(|finding| matches!(finding, Finding::Damaged(_)))
    }
}

/// Of a seed, as long as a config partition may come.
const NO_SEED_YET: &str = "not looked at: a seed is taken only where no config partition is";

/// Of a file system that cannot be read: what is called so may be this machine's.
fn unreadable(found: &FileSystem, reason: String) -> Finding {
    match found.label == CONFIG_LABEL {
        true => Finding::Broken(format!("{reason}; it is called {CONFIG_LABEL}")),
        false => Finding::Refused(reason),
    }
}

/// Why what is on a device can be neither a config partition nor a seed.
fn foreign(content: &Content) -> String {
    match content {
        Content::Unknown => "no file system".into(),
        _ => "no ext4 or xfs, so no config partition".into(),
    }
}

/// The one that is taken of those that were looked at, or why none is.
pub(crate) fn choose(seen: &[Seen], named: Option<&DiskName>) -> Result<Candidate, String> {
    let (chosen, bound) = discovery::choose(seen, named)?;
    Ok(Candidate {
        device: Path::new("/dev").join(&chosen.device),
        kind: match chosen.content.as_str() {
            "xfs" => "xfs",
            "vfat" => "vfat",
            "iso9660" => "iso9660",
            _ => "ext4",
        },
        is_seed: matches!(chosen.finding, Finding::Seed(_)),
        bound: bound.clone(),
        is_damaged: matches!(chosen.finding, Finding::Damaged(_)),
    })
}

/// How the kernel command line may name a device.
fn names(device: &Device, content: &Content) -> Vec<DiskName> {
    let partition = partition(device).map(|id| DiskName::partition(&id));
    let own = match content {
        Content::FileSystem(found) | Content::Iso9660(_, found) => Some(found.id.as_str()),
        _ => None,
    };
    let own = own.filter(|id| !id.is_empty()).map(DiskName::file_system);
    partition.into_iter().chain(own).collect()
}

/// The modules of the release's root for the running kernel.
fn root_modules(root: &Path) -> Result<Modules> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    Modules::open(&root.join("usr/lib/modules").join(release))
}

/// The devices, once neither they nor what they come from has changed for [`QUIET`], and no stick
/// is on its way.
fn settle(modules: &mut Modules) -> Result<Vec<Device>> {
    let mut devices = block::devices()?;
    let mut coming = block::coming();
    let mut since = Instant::now();
    while since.elapsed() < QUIET || (coming.sticks > 0 && since.elapsed() < STICK) {
        sleep(LOOK);
        modules.load_for_devices();
        let now = (block::devices()?, block::coming());
        if now != (devices, coming) {
            since = Instant::now();
        }
        (devices, coming) = now;
    }
    Ok(devices)
}

/// The partition or seed that an operator named in the rescue shell: its marker need not fit this
/// machine, but it must be one.
pub(crate) fn by_hand(device: &Path, root: &Path, judge: &Judge) -> Result<Candidate, String> {
    let content = block::probe(device).map_err(|error| format!("{error:#}"))?;
    let found = match &content {
        Content::FileSystem(found) | Content::Iso9660(_, found) => Some(found.clone()),
        Content::Unknown => None,
        Content::Other(_) => return Err(foreign(&content)),
    };
    let mounted = found.map(|found| look(device, &found, root).map(|mounted| (found, mounted)));
    let (found, mounted) = match (mounted, block::from_copy(device)) {
        (Some(Ok(read)), _) => read,
        (_, Ok(Some(copy))) => look(device, &copy, root).map(|mounted| (copy, mounted))?,
        (Some(Err(reason)), _) => return Err(reason),
        (None, _) => return Err(foreign(&content)),
    };
    let (bound, runs) = read_candidate(mounted.path(), judge, |_| Ok(BY_HAND.into()))?;
    match runs {
        Err(why) if !found.journal => Err(why),
        _ => Ok(Candidate {
            device: device.to_owned(),
            kind: found.kind,
            is_seed: found.is_of_seeds(),
            bound,
            is_damaged: found.copy.is_some(),
        }),
    }
}

/// A seed, as it is mounted while it is looked at and at `/config`: what it does not say of owners
/// and modes is root's alone.
pub(crate) fn seed<'m>(kind: &'static str, device: &'m Path) -> Mount<'m> {
    let mut mount = Mount::read_only(kind, device);
    mount.attributes = Attributes::ReadOnlyData;
    let options: &[(&str, &str)] = match kind {
        "vfat" => &[("umask", "077"), ("utf8", "1"), ("iocharset", "ascii")],
        _ => &[("mode", "0400"), ("dmode", "0500")],
    };
    let options = options
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()));
    mount.options.extend(options);
    mount
}

/// Loads what the kernel reads a vfat with, from the release's root.
fn load_vfat(root: &Path) -> Result<()> {
    let mut modules = root_modules(root)?;
    VFAT.iter().try_for_each(|module| modules.load(module))
}

/// Mounts a device read-only and without replaying its journal.
fn look(device: &Path, found: &FileSystem, root: &Path) -> Result<Mounted, String> {
    if found.kind == "vfat" {
        load_vfat(root).map_err(|error| format!("cannot be mounted: {error:#}"))?;
    }
    let mut mount = match found.is_of_seeds() {
        true => seed(found.kind, device),
        false => Mount::read_only(found.kind, device),
    };
    mount.flags.extend(found.without_replay());
    if found.kind == "xfs" {
        // A copy of a disk that is mounted shall be listed beside it.
        mount.flags.push("nouuid");
    }
    if let Some(copy) = &found.copy {
        // ext4(5): in units of 1 KiB, whatever its blocks are.
        let place = copy.block * copy.block_size / 1024;
        mount.options.push(("sb", place.to_string()));
    }
    Mounted::new(&mount, Path::new("/run/domus/look"))
        .map_err(|error| format!("cannot be mounted: {}", error.root_cause()))
}

/// Reads the marker of what is mounted at `root`, and looks whether there is something to run, or
/// why not.
fn read_candidate(
    root: &Path,
    judge: &Judge,
    accept: impl Fn(&Marker) -> Result<String, String>,
) -> Result<(Bound, Result<(), String>), String> {
    let marker = read_marker(&root.join(MARKER_PATH))?;
    let by = accept(&marker)?;
    let runs = something_to_run(&root.join("repo.git"), judge, &marker.host);
    let host = marker.host;
    Ok((
        Bound { host, by },
        runs.map_err(|error| format!("{error:#}")),
    ))
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
    judge.choose(&repo, None, has_host).map(drop)
}
