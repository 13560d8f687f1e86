// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU with every default filled in.

use super::Vars;
use crate::layers::Layer;
use crate::names::{Hosts, ImageRef, Name};
use crate::units::{Interval, Mac, Size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// How a domU is virtualised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Paravirtualised: runs where the processor has no virtualisation extensions, too.
    Pv,
    /// In a hardware container, without emulated devices.
    Pvh,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pv => "pv",
            Self::Pvh => "pvh",
        })
    }
}

/// A guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DomU {
    /// Its host name.
    pub name: Name,
    /// How it is virtualised.
    pub kind: Kind,
    /// Its UUID, if it has one of its own; else one is derived from its name.
    pub uuid: Option<Uuid>,
    /// The image it starts from.
    pub image: ImageRef,
    /// Its memory, a whole number of MiB.
    pub memory: Size,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// The domUs of this host that start before it. There are no cycles.
    pub after: Vec<Name>,
    /// How long it waits when those that it comes after are up.
    pub delay: Option<Interval>,
    /// Whether it starts with its host, and when it is new; else when somebody says so.
    pub autostart: bool,
    /// When it is started again after it ended by itself.
    pub restart: Restart,
    /// How long it may take to shut down.
    pub stop_timeout: Interval,
    /// Where it may run besides the host that has it.
    pub may_run_on: Vec<Hosts>,
    /// Its network cards, in order.
    #[serde(rename = "network")]
    pub vifs: Vec<Vif>,
    /// Its data disks, in order.
    #[serde(rename = "disk")]
    pub disks: Vec<Disk>,
    /// Variables of the fleet, its host's groups, its host and its own.
    pub vars: Vars,
    /// The layers of its `/etc` above the image, the lowest first.
    #[serde(serialize_with = "crate::layers::names")]
    pub layers: Vec<Layer>,
}

impl DomU {
    /// What a domU has if nobody says so.
    pub const MEMORY: Size = Size::from_mib(256);

    /// A domU with nothing but defaults: no card, no disk.
    pub fn new(name: Name, image: ImageRef) -> Self {
        Self {
            name,
            kind: Kind::Pvh,
            uuid: None,
            image,
            memory: Self::MEMORY,
            vcpus: 1,
            after: Vec::new(),
            delay: None,
            autostart: true,
            restart: Restart::default(),
            stop_timeout: Interval::from_minutes(1),
            may_run_on: Vec::new(),
            vifs: Vec::new(),
            disks: Vec::new(),
            vars: BTreeMap::new(),
            layers: Vec::new(),
        }
    }
}

/// When a domU that ended by itself is started again. One whose guest reboots starts in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// Where it crashed; one that powered off stays down.
    OnCrash,
    /// It stays down.
    Never,
}

/// A domU's network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vif {
    /// The host's network it is joined to.
    pub bridge: Name,
    /// Its address, which nobody else in the fleet has.
    pub mac: Mac,
}

/// A domU's data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Its name, which no other disk of the domU has.
    pub name: Name,
    /// What it is kept on.
    #[serde(flatten)]
    pub backing: Backing,
    /// Where the domU mounts it, an absolute path.
    pub mount: Option<String>,
}

/// What a data disk is kept on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Backing {
    /// A volume of the host's pool, made and formatted once, never again.
    Volume {
        /// Its name in the pool.
        #[serde(rename = "volume")]
        name: String,
        /// The size it is made with.
        size: Size,
    },
    /// A block device of the host.
    Device {
        /// Its absolute path, which does not change from boot to boot.
        #[serde(rename = "device")]
        path: String,
    },
}

impl Backing {
    /// The volume of the host's pool, if it is one.
    pub fn volume(&self) -> Option<&str> {
        match self {
            Self::Volume { name, .. } => Some(name),
            Self::Device { .. } => None,
        }
    }

    /// The size that it is made with, if Domus makes it.
    pub fn size(&self) -> Option<Size> {
        match self {
            Self::Volume { size, .. } => Some(*size),
            Self::Device { .. } => None,
        }
    }
}

/// The name in its host's pool of the volume that keeps a domU's disk, where the disk names no
/// other. Names of domUs and disks have no dots, so no two have one volume.
pub fn volume_name(domu: &str, disk: &Name) -> String {
    format!("{domu}.{disk}")
}
