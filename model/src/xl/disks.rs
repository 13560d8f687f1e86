// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks of xl configurations: which is the root, which go on as data disks, and what to do about
//! the others.

use super::convert::Notes;
use super::disk_spec::DiskSpec;
use super::document::Disk;
use crate::bad_value::shown;
use crate::documents::takes;
use crate::fleet::Kind;
use crate::guest::data_device;
use crate::names::Name;
use std::collections::{BTreeMap, BTreeSet};

/// The devices in a guest that hold its root where nothing says so.
const FIRST: [&str; 6] = ["xvda", "hda", "sda", "vda", "d0", "0x0300"];

/// Directories of `/dev` in which no volume group has its volumes.
const NO_GROUPS: [&str; 13] = [
    "disk", "mapper", "md", "block", "loop", "drbd", "zvol", "cciss", "ida", "rd", "nbd", "shm",
    "dm",
];

/// The data disks among these, which stand on these lines. `root`: the device that the root is on
/// by the kernel's command line. `domu`: its name of old, and that it has now.
pub(super) fn read(
    specs: &[(usize, DiskSpec<'_>)],
    root: Option<&str>,
    domu: (&str, &Name),
    kind: Kind,
    notes: &mut Notes,
) -> Vec<Disk> {
    let root = root_of(specs, root);
    let mut names = Names::default();
    let mut devices = BTreeSet::new();
    let mut disks = Vec::new();
    for (index, (line, spec)) in specs.iter().enumerate() {
        let what = described(spec);
        if root == Some(index) {
            let message = format!(
                "{what} is its root: domUs start from read-only images; move data that it has \
                 to a [[disk]]"
            );
            notes.lost(*line, "disk", message);
            // Nothing of it goes on, by another name neither.
            devices.extend(device(spec));
            continue;
        }
        let device = match device(spec) {
            Ok(device) if devices.insert(device.clone()) => device,
            Ok(_) => {
                notes.lost(
                    *line,
                    "disk",
                    format!("{what} is on a device that another disk is on"),
                );
                continue;
            }
            Err(why) => {
                notes.lost(*line, "disk", format!("{what} {why}"));
                continue;
            }
        };
        let now = data_device(kind, disks.len());
        let alias = match device == spec.target {
            true => String::new(),
            false => format!(", written as {device}"),
        };
        let message =
            format!("{what} is {now} in the domU{alias}; `mount` says where, if it shall");
        notes.changed(*line, "disk", message);
        let name = names.give(spec, &device, domu);
        disks.push(Disk { name, device });
    }
    disks
}

/// What people call it.
fn described(spec: &DiskSpec<'_>) -> String {
    match (spec.target, spec.vdev) {
        ("", "") => "a disk".to_owned(),
        ("", vdev) => shown(vdev),
        (target, "") => shown(target),
        (target, vdev) => format!("{} ({})", shown(target), shown(vdev)),
    }
}

/// The disk that holds the root: the one named, else the guest's first, else the first here.
fn root_of(specs: &[(usize, DiskSpec<'_>)], root: Option<&str>) -> Option<usize> {
    let find = |fits: &dyn Fn(&str) -> bool| {
        let fits = |(_, spec): &(usize, DiskSpec<'_>)| !spec.is_cdrom && fits(spec.vdev);
        specs.iter().position(fits)
    };
    let whole = |vdev: &'_ str| {
        vdev.trim_end_matches(|c: char| c.is_ascii_digit())
            .to_owned()
    };
    let named = root.and_then(|root| {
        let is_on = |vdev: &str| !vdev.is_empty() && whole(root) == vdev;
        find(&|vdev| vdev == root).or_else(|| find(&is_on))
    });
    named
        .or_else(|| find(&|vdev| FIRST.contains(&vdev)))
        .or_else(|| find(&|vdev| FIRST.contains(&whole(vdev).as_str())))
        .or_else(|| find(&|_| true))
}

/// The device that a document has for it, or why it has none and what to write.
fn device(spec: &DiskSpec<'_>) -> Result<String, String> {
    if spec.is_cdrom {
        return Err("is a CD drive: domUs have none".to_owned());
    }
    if spec.target.is_empty() {
        return Err("has no medium".to_owned());
    }
    if !spec.is_writable() {
        return Err("is read-only: data disks of domUs are not".to_owned());
    }
    if !spec.script.is_empty() {
        let script = shown(spec.script);
        return Err(format!(
            "is attached by the script {script}: attach it in dom0, then write a [[disk]] with \
             device = \"/dev/disk/by-...\""
        ));
    }
    if !matches!(spec.backend, "" | "0" | "Domain-0") {
        let backend = shown(spec.backend);
        return Err(format!(
            "comes from the domain {backend}: all disks come from dom0"
        ));
    }
    if !matches!(spec.format, "" | "raw") {
        let format = shown(spec.format);
        return Err(format!(
            "is an image ({format}): write a [[disk]] with a `size`, start the domU, and copy \
             the data over"
        ));
    }
    let path = match spec.target.starts_with('/') {
        false if spec.is_phy => format!("/dev/{}", spec.target),
        _ => spec.target.to_owned(),
    };
    if !path.starts_with("/dev/") {
        return Err(
            "is a file: write a [[disk]] with a `size`, start the domU, and copy the data over"
                .to_owned(),
        );
    }
    let stable = mapped(&path).unwrap_or(path);
    match takes::device(&stable) {
        true => Ok(stable),
        false => Err(
            "may be another disk after a reboot: write a [[disk]] with device = \
             \"/dev/disk/by-id/...\"; `ls -l /dev/disk/by-id` in dom0 lists them"
                .to_owned(),
        ),
    }
}

/// The other name of the logical volume `/dev/GROUP/VOLUME` (lvm(8): hyphens are doubled).
fn mapped(path: &str) -> Option<String> {
    let (group, volume) = path.strip_prefix("/dev/")?.split_once('/')?;
    let is_volume = !volume.is_empty() && !volume.contains('/') && !NO_GROUPS.contains(&group);
    let double = |name: &str| name.replace('-', "--");
    is_volume.then(|| format!("/dev/mapper/{}-{}", double(group), double(volume)))
}

/// The volume's name in `/dev/mapper/GROUP-VOLUME`.
fn volume(device: &str) -> Option<String> {
    // What stands for a hyphen is none that parts them.
    let name = device.strip_prefix("/dev/mapper/")?.replace("--", "\0");
    let (_, volume) = name.split_once('-')?;
    Some(volume.replace('\0', "-"))
}

/// Names of disks, each given once.
#[derive(Default)]
struct Names {
    given: BTreeSet<Name>,
    next: BTreeMap<Name, usize>,
}

impl Names {
    /// That of its volume, without the domU's name before it; else of its device in the guest.
    fn give(&mut self, spec: &DiskSpec<'_>, device: &str, (old, now): (&str, &Name)) -> Name {
        let called = volume(device).unwrap_or_else(|| spec.vdev.to_owned());
        let short = [old, now.as_str()].into_iter().find_map(|domu| {
            let rest = called.strip_prefix(domu)?;
            rest.strip_prefix(['-', '_', '.'])
                .filter(|it| !it.is_empty())
        });
        let base = Name::nearest(short.unwrap_or(&called)).or_else(|| Name::nearest(spec.vdev));
        let base = base.unwrap_or_else(|| now.clone());
        loop {
            let number = self.next.entry(base.clone()).or_insert(1);
            let name = match *number {
                1 => Some(base.clone()),
                // Short enough that the number stays.
                _ => Name::nearest(&format!("{:.50}-{number}", base.as_str())),
            };
            *number += 1;
            if let Some(name) = name.filter(|name| self.given.insert(name.clone())) {
                return name;
            }
        }
    }
}
