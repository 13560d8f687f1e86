// SPDX-License-Identifier: GPL-3.0-or-later
//! The life of volumes after they were made: which a host has, whose each is, and what may be done to
//! them.

pub mod backup;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::bad_value::{BadValue, quoted};
use crate::fleet::{Backing, Host, VolumePool};
use crate::names::Name;
use crate::table::table;
use crate::units::Size;

/// Ends the name of what a restored volume is written to, until it takes the place of the volume.
pub const INCOMING: &str = ".incoming";
/// Ends the name of the volume whose place it takes, until that is removed.
pub const REPLACED: &str = ".replaced";

/// A disk of a domU as operators name it: `web/data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOf {
    /// The domU.
    pub domu: Name,
    /// Its disk.
    pub disk: Name,
}

impl fmt::Display for DiskOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domu, self.disk)
    }
}

impl FromStr for DiskOf {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let names = text
            .split_once('/')
            .map(|(domu, disk)| (domu.parse(), disk.parse()));
        match names {
            Some((Ok(domu), Ok(disk))) => Ok(Self { domu, disk }),
            _ => Err(BadValue::new(
                format!("{} is no disk of a domU", quoted(text)),
                "write domU and disk, as web/data",
            )),
        }
    }
}

/// What a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A file.
    File,
    /// A logical volume.
    Lvm,
    /// A block device, which is not Domus's.
    Device,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Lvm => "lvm",
            Self::Device => "device",
        }
    }
}

/// Something that was found in the pool, or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name in the pool; of a device its path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The volume that it is a snapshot of.
    pub origin: Option<String>,
    /// Whether nobody but Domus can have made it.
    pub is_marked: bool,
    /// Who uses it: a domain by its name, or `dom0`.
    pub used_by: Option<String>,
}

/// A volume of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name in the pool; of a device its path.
    pub name: String,
    /// The domU that it is of, or by its name was of.
    #[serde(rename = "domU")]
    pub domu: Option<Name>,
    /// The disk of that domU.
    pub disk: Option<Name>,
    /// What it is.
    #[serde(rename = "backend")]
    pub kind: Kind,
    /// Its size in bytes; none if it is not there.
    pub size: Option<u64>,
    /// Who uses it: a domain by its name, or `dom0`.
    pub used_by: Option<String>,
    /// Whether no domU of this host has it.
    pub orphan: bool,
    /// The volume that it is a snapshot of.
    pub snapshot_of: Option<String>,
}

/// The volumes of a host: those that its domUs have, there or not, and what else was `found` that
/// Domus made. A volume group may have others, which are left out.
pub fn volumes(host: &Host, found: &[Found]) -> Vec<Volume> {
    let pool = match host.storage.domus {
        VolumePool::Directory(_) => Kind::File,
        VolumePool::VolumeGroup(_) => Kind::Lvm,
    };
    let by_name: BTreeMap<&str, &Found> = found.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut all = Vec::new();
    let mut declared = BTreeSet::new();
    for domu in host.domus.values() {
        for disk in &domu.disks {
            let (name, kind) = match &disk.backing {
                Backing::Volume { name, .. } => (name, pool),
                Backing::Device { path } => (path, Kind::Device),
                Backing::Image { .. } => continue,
            };
            declared.insert(name.as_str());
            let there = by_name.get(name.as_str());
            all.push(Volume {
                name: name.clone(),
                domu: Some(domu.name.clone()),
                disk: Some(disk.name.clone()),
                kind,
                size: there.map(|it| it.size),
                used_by: there.and_then(|it| it.used_by.clone()),
                orphan: false,
                snapshot_of: None,
            });
        }
    }
    let others = found
        .iter()
        .filter(|it| !declared.contains(it.name.as_str()));
    for it in others.filter(|it| pool == Kind::File || is_own(it, &declared)) {
        let of = it.origin.as_ref().unwrap_or(&it.name);
        let of = parts(of);
        let origin = it.origin.as_deref();
        all.push(Volume {
            name: it.name.clone(),
            domu: of.as_ref().map(|of| of.domu.clone()),
            disk: of.map(|of| of.disk),
            kind: pool,
            size: Some(it.size),
            used_by: it.used_by.clone(),
            orphan: !origin.is_some_and(|origin| declared.contains(origin)),
            snapshot_of: it.origin.clone(),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Whether a logical volume that no domU has was made by Domus for one, as far as that can be told.
fn is_own(found: &Found, declared: &BTreeSet<&str>) -> bool {
    found.is_marked
        || match found.origin.as_deref() {
            Some(origin) => declared.contains(origin) || parts(origin).is_some(),
            None => parts(&found.name).is_some(),
        }
}

/// The disk whose volume has this name, where its document names no other.
fn parts(name: &str) -> Option<DiskOf> {
    let (domu, disk) = name.split_once('.')?;
    let (domu, disk) = (domu.parse().ok()?, disk.parse().ok()?);
    Some(DiskOf { domu, disk })
}

impl Volume {
    /// Why it is not destroyed, if it is not, where `all` are the volumes of its host. What a domU
    /// has is destroyed if somebody asked for that (`declared`), and stopped the domU (`is_held`).
    pub fn refuses_to_go(&self, all: &[Self], declared: bool, is_held: bool) -> Option<String> {
        let name = &self.name;
        if self.kind == Kind::Device {
            return Some(format!(
                "{name} is a device, which Domus neither makes nor destroys"
            ));
        }
        if self.size.is_none() {
            return Some(format!("{name} is not there"));
        }
        if let Some(user) = &self.used_by {
            return Some(format!("{name} is in use: {user} has it"));
        }
        let is_of_it = |other: &&Self| other.snapshot_of.as_ref() == Some(name);
        let snapshots: Vec<&str> = all
            .iter()
            .filter(is_of_it)
            .map(|it| it.name.as_str())
            .collect();
        if !snapshots.is_empty() {
            let snapshots = snapshots.join(", ");
            return Some(format!(
                "{name} has snapshots that would go with it: destroy {snapshots} first"
            ));
        }
        let domu = self
            .domu
            .as_ref()
            .filter(|_| !self.orphan && self.snapshot_of.is_none())?;
        match (declared, is_held) {
            (true, true) => None,
            (false, _) => Some(format!(
                "{name} is a volume that {domu} has; --declared destroys it all the same, and {domu} \
                 starts with a new, empty one"
            )),
            (true, false) => Some(format!(
                "{name} is a volume that {domu} has, and nobody stopped {domu}: \
                 `domus-dom0 stop {domu}`"
            )),
        }
    }

    fn row(&self) -> Vec<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let size = self
            .size
            .map(|bytes| Size::from_kib(bytes >> 10).to_string());
        vec![
            self.name.clone(),
            or_none(self.domu.as_ref().map(Name::to_string)),
            or_none(self.disk.as_ref().map(Name::to_string)),
            self.kind.word().to_owned(),
            or_none(size),
            or_none(self.used_by.clone()),
            self.remark(),
        ]
    }

    fn remark(&self) -> String {
        let ends = |end: &str| self.orphan && self.name.ends_with(end);
        match (&self.snapshot_of, self.orphan) {
            _ if ends(INCOMING) || ends(REPLACED) => "of a restore that was cut off".to_owned(),
            (Some(origin), false) => format!("snapshot of {origin}"),
            (Some(origin), true) => format!("orphan, snapshot of {origin}"),
            (None, true) => "orphan".to_owned(),
            (None, false) if self.size.is_none() && self.kind == Kind::Device => {
                "not connected".to_owned()
            }
            (None, false) if self.size.is_none() => "not made yet".to_owned(),
            (None, false) => String::new(),
        }
    }
}

/// A table of volumes, and a line for those that are nobody's.
pub fn render(volumes: &[Volume]) -> String {
    if volumes.is_empty() {
        return "no volumes\n".to_owned();
    }
    let rows: Vec<Vec<String>> = volumes.iter().map(Volume::row).collect();
    table(
        &["volume", "domU", "disk", "on", "size", "used by", ""],
        &rows,
    )
}

/// The volumes that no domU of the host has, by name. Those of a restore are not yet, or no more.
pub fn orphans(volumes: &[Volume]) -> Vec<String> {
    let is_left = |name: &str| name.ends_with(INCOMING) || name.ends_with(REPLACED);
    let orphans = volumes.iter().filter(|it| it.orphan && !is_left(&it.name));
    orphans.map(|it| it.name.clone()).collect()
}

/// The line that names orphans; nothing if there are none.
pub fn orphans_line(orphans: &[String]) -> String {
    match (orphans.len(), orphans.join(", ")) {
        (0, _) => String::new(),
        (1, name) => {
            format!("orphans: no domU here has the volume {name}; `domus-dom0 volume list`\n")
        }
        (_, names) => {
            format!("orphans: no domU here has the volumes {names}; `domus-dom0 volume list`\n")
        }
    }
}

#[cfg(test)]
mod tests;
