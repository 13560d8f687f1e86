// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU with every default filled in.

use super::Vars;
use crate::layers::Layer;
use crate::names::{Hosts, ImageRef, Name};
use crate::units::{CpuSet, Interval, Mac, PciDevice, Rate, Size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use uuid::Uuid;

/// How a domU is virtualised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Paravirtualised: runs where the processor has no virtualisation extensions, too.
    Pv,
    /// In a hardware container, without emulated devices.
    Pvh,
    /// In a hardware container, with devices that QEMU emulates in dom0.
    Hvm,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pv => "pv",
            Self::Pvh => "pvh",
            Self::Hvm => "hvm",
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
    /// Whether that is none of Domus's own: it boots by itself, has a root that is written to, and
    /// reads its configuration as cloud-init does.
    pub foreign: bool,
    /// Arguments for its kernel, beside Domus's own.
    pub kernel_args: Vec<String>,
    /// Its memory, a whole number of MiB.
    pub memory: Size,
    /// The most memory that it can be given while it runs, if more than it has.
    pub max_memory: Option<Size>,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// The most virtual CPUs that it can be given while it runs, if more than it has.
    pub max_vcpus: Option<u32>,
    /// The host's CPUs that it runs on; with none, all.
    pub pin: Option<CpuSet>,
    /// Its share where CPUs are short: one with twice the weight has twice as much.
    pub weight: u32,
    /// The most that it has, in percent of one CPU.
    pub cap: Option<u32>,
    /// What its clock shows when it starts.
    pub clock: Clock,
    /// How much is kept of what its console says.
    pub console_log: Size,
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
    /// The command in it that succeeds as long as it is well.
    pub health: Option<String>,
    /// Where it may run besides the host that has it.
    pub may_run_on: Vec<Hosts>,
    /// The host that it comes from: it starts once that one never starts it again, and its volumes
    /// are here.
    pub moved_from: Option<Name>,
    /// The host's PCI devices that it is given.
    pub pci: Vec<PciDevice>,
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
    /// What is kept of a console if nobody says so.
    pub const CONSOLE_LOG: Size = Size::from_kib(256);
    /// What Xen gives a domain (`CSCHED2_DEFAULT_WEIGHT`).
    pub const WEIGHT: u32 = 256;

    /// A domU with nothing but defaults: no card, no disk.
    pub fn new(name: Name, image: ImageRef) -> Self {
        Self {
            name,
            kind: Kind::Pvh,
            uuid: None,
            image,
            foreign: false,
            kernel_args: Vec::new(),
            memory: Self::MEMORY,
            max_memory: None,
            vcpus: 1,
            max_vcpus: None,
            pin: None,
            weight: Self::WEIGHT,
            cap: None,
            clock: Clock::default(),
            console_log: Self::CONSOLE_LOG,
            after: Vec::new(),
            delay: None,
            autostart: true,
            restart: Restart::default(),
            stop_timeout: Interval::from_minutes(1),
            health: None,
            may_run_on: Vec::new(),
            moved_from: None,
            pci: Vec::new(),
            vifs: Vec::new(),
            disks: Vec::new(),
            vars: BTreeMap::new(),
            layers: Vec::new(),
        }
    }
}

impl DomU {
    /// The images that it is given: the one that it starts from, and those that are data disks.
    pub fn images(&self) -> impl Iterator<Item = &ImageRef> {
        let disks = self.disks.iter();
        [&self.image]
            .into_iter()
            .chain(disks.filter_map(|disk| disk.backing.image()))
    }

    /// The most memory that it can have without a restart.
    pub fn most_memory(&self) -> Size {
        self.max_memory.unwrap_or(self.memory)
    }

    /// The most virtual CPUs that it can have without a restart.
    pub fn most_vcpus(&self) -> u32 {
        self.max_vcpus.unwrap_or(self.vcpus)
    }
}

/// What a domU's clock shows when it starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Universal time.
    #[default]
    Utc,
    /// dom0's local time.
    Localtime,
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
    /// The most that it sends.
    pub rate: Option<Rate>,
    /// Whether it may send by no other MAC address.
    pub filter: bool,
    /// The only IP addresses that it may send by; with none, any.
    pub addresses: Vec<IpAddr>,
}

impl Vif {
    /// A card with nothing but defaults.
    pub fn new(bridge: Name, mac: Mac) -> Self {
        Self {
            bridge,
            mac,
            rate: None,
            filter: true,
            addresses: Vec::new(),
        }
    }
}

/// A domU's data disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Its name, which no other disk of the domU has.
    pub name: Name,
    /// What it is kept on.
    #[serde(flatten)]
    pub backing: Backing,
    /// What it is made with, and shall hold.
    pub fs: Fs,
    /// Where the domU mounts it, an absolute path.
    pub mount: Option<String>,
}

impl Disk {
    /// The volume that it is kept on, if what is there outlives the next start.
    pub fn kept(&self) -> Option<&str> {
        self.backing.volume().filter(|_| self.fs != Fs::Scratch)
    }
}

/// What a data disk holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fs {
    /// An ext4.
    #[default]
    Ext4,
    /// An XFS.
    Xfs,
    /// Memory that is not needed now.
    Swap,
    /// What the root of a foreign image writes, until the domU starts next.
    Scratch,
    /// What the guest makes of it, or what an image brings.
    None,
}

impl fmt::Display for Fs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Swap => "swap",
            Self::Scratch => "scratch",
            Self::None => "none",
        })
    }
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
        /// The size it has at least: it grows, and never shrinks.
        size: Size,
    },
    /// A block device of the host.
    Device {
        /// Its absolute path, which does not change from boot to boot.
        #[serde(rename = "device")]
        path: String,
    },
    /// The root of an image, read-only.
    Image {
        /// The image.
        #[serde(rename = "image")]
        image: ImageRef,
    },
}

impl Backing {
    /// The volume of the host's pool, if it is one.
    pub fn volume(&self) -> Option<&str> {
        match self {
            Self::Volume { name, .. } => Some(name),
            Self::Device { .. } | Self::Image { .. } => None,
        }
    }

    /// The image, if it is one.
    pub fn image(&self) -> Option<&ImageRef> {
        match self {
            Self::Image { image } => Some(image),
            Self::Volume { .. } | Self::Device { .. } => None,
        }
    }

    /// The size that it has at least, if Domus makes it.
    pub fn size(&self) -> Option<Size> {
        match self {
            Self::Volume { size, .. } => Some(*size),
            Self::Device { .. } | Self::Image { .. } => None,
        }
    }
}

/// The name in its host's pool of the volume that keeps a domU's disk, where the disk names no
/// other. Names of domUs and disks have no dots, so no two have one volume.
pub fn volume_name(domu: &str, disk: &Name) -> String {
    format!("{domu}.{disk}")
}
