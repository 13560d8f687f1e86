// SPDX-License-Identifier: GPL-3.0-or-later
//! Which volumes this host has, and who uses them. What that means is `domus_model::volumes`' to say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use domus_model::fleet::{Backing, VolumePool};
use domus_model::names::Name;
use domus_model::volumes::{DiskOf, Found, Volume, orphans, render, volumes};
use domus_system::loopdev;

use super::{file, lvm, size};
use crate::context::Context;
use crate::loops;
use crate::observe::Observer;
use crate::warn;

/// Who uses a volume that no domain has: whoever mounted it, or shows it as a loop device.
const DOM0: &str = "dom0";

/// The volumes of this host.
#[derive(Debug)]
pub(crate) struct Look {
    /// All of them, by name.
    pub(crate) volumes: Vec<Volume>,
    paths: BTreeMap<String, PathBuf>,
}

impl Look {
    /// Looks at them and at who uses them.
    ///
    /// # Errors
    /// The pool cannot be read, or XenStore does not answer.
    pub(crate) fn new(context: &Context, observer: &mut Observer) -> Result<Self> {
        let users = Users::find(observer).context("finding who uses volumes")?;
        Self::with(context, Some(&users))
    }

    fn with(context: &Context, users: Option<&Users>) -> Result<Self> {
        let user = |path: &Path| users.and_then(|users| users.of(path));
        let (mut found, mut paths) = (Vec::new(), BTreeMap::new());
        match &context.host.storage.domus {
            VolumePool::Directory(dir) => {
                for (name, path, size) in file::list(&context.paths.at(dir))? {
                    let used_by = user(&path);
                    paths.insert(name.clone(), path);
                    found.push(Found {
                        name,
                        size,
                        origin: None,
                        is_marked: true,
                        used_by,
                    });
                }
            }
            VolumePool::VolumeGroup(group) => {
                for lv in lvm::list(group)? {
                    let open = || (lv.is_open && users.is_some()).then(|| DOM0.to_owned());
                    found.push(Found {
                        size: lv.size,
                        is_marked: lv.is_marked(),
                        used_by: user(&lv.path).or_else(open),
                        origin: lv.origin,
                        name: lv.name.clone(),
                    });
                    paths.insert(lv.name, lv.path);
                }
            }
        }
        for path in devices(context) {
            let device = context.paths.at(path);
            if let Ok(size) = size(&device) {
                found.push(Found {
                    name: path.to_owned(),
                    size,
                    origin: None,
                    is_marked: false,
                    used_by: user(&device),
                });
                paths.insert(path.to_owned(), device);
            }
        }
        let volumes = volumes(&context.host, &found);
        Ok(Self { volumes, paths })
    }

    /// One JSON array.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.volumes)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        render(&self.volumes)
    }

    /// The volume `name`.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn named(&self, name: &str) -> Result<&Volume> {
        let volume = self.volumes.iter().find(|it| it.name == name);
        volume.with_context(|| {
            format!("there is no volume {name}; `domus-dom0 volume list` shows those that are")
        })
    }

    /// The volume of a disk, and where it is if it is there.
    ///
    /// # Errors
    /// No domU has that disk, nor had by the names of volumes.
    pub(super) fn of(&self, disk: &DiskOf) -> Result<(&Volume, Option<&Path>)> {
        let is_it = |it: &&Volume| {
            let of = (it.domu.as_ref(), it.disk.as_ref());
            of == (Some(&disk.domu), Some(&disk.disk)) && it.snapshot_of.is_none()
        };
        // Another may have the name that it would have by itself.
        let volumes = self.volumes.iter().filter(is_it);
        let Some(volume) = volumes.min_by_key(|it| it.orphan) else {
            bail!("there is no volume of {disk}; `domus-dom0 volume list` shows those that are");
        };
        Ok((volume, self.paths.get(&volume.name).map(PathBuf::as_path)))
    }
}

/// The volumes that no domU of this host has. What cannot be looked at is said, and has none.
pub(crate) fn orphans_of(context: &Context) -> Vec<String> {
    match Look::with(context, None) {
        Ok(look) => orphans(&look.volumes),
        Err(error) => {
            warn(&error.context("looking for volumes that nobody has"));
            Vec::new()
        }
    }
}

fn devices(context: &Context) -> impl Iterator<Item = &str> {
    let domus = context.host.domus.values();
    let disks = domus.flat_map(|domu| &domu.disks);
    disks.filter_map(|disk| match &disk.backing {
        Backing::Device { path } => Some(path.as_str()),
        Backing::Volume { .. } | Backing::Image { .. } => None,
    })
}

/// Who uses what.
struct Users {
    /// Domains by the devices that they have.
    domains: BTreeMap<PathBuf, u32>,
    names: BTreeMap<u32, String>,
    /// Devices by the files that they show.
    loops: BTreeMap<PathBuf, PathBuf>,
}

impl Users {
    fn find(observer: &mut Observer) -> Result<Self> {
        let domains = observer.ask(loops::users)?;
        let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
        let names = observer.named()?.into_iter();
        let loops = loopdev::attached()?.into_iter();
        Ok(Self {
            domains: domains
                .into_iter()
                .map(|(path, id)| (real(path), id))
                .collect(),
            names: names.map(|(name, id)| (id, name)).collect(),
            loops: loops.map(|(device, file, _)| (file, device)).collect(),
        })
    }

    fn of(&self, path: &Path) -> Option<String> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let shown = self.loops.get(&path);
        let mut devices = [Some(&path), shown].into_iter().flatten();
        match devices.find_map(|device| self.domains.get(device)) {
            Some(id) => Some(
                self.names
                    .get(id)
                    .cloned()
                    .unwrap_or_else(|| id.to_string()),
            ),
            None => shown.map(|_| DOM0.to_owned()),
        }
    }
}

/// Whether there is a domain `name`, whoever made it.
pub(crate) fn runs(observer: &mut Observer, name: &Name) -> Result<bool> {
    let domains = observer.domains()?;
    let is_seen = domains.running.contains_key(name.as_str());
    Ok(is_seen
        || domains.unknown.contains_key(name.as_str())
        || observer.is_known(name.as_str())?)
}
