// SPDX-License-Identifier: GPL-3.0-or-later
//! `Fleet`: what the documents of a repository say, proved and with every default filled in.
//! Only `load` makes one; whoever holds one need check nothing again. As JSON its settings have
//! the names that documents have for them.

mod console;
mod domu;
mod network;
mod storage;

pub use console::SerialConsole;
pub use domu::{Backing, Clock, Disk, DomU, Fs, Kind, Restart, Vif, volume_name};
pub use network::{Address, Bond, Firewall, Forward, Network, Opening, Protocol, Route, SSH};
pub use storage::{CONFIG_SLACK, LocalStorage, Storage, VolumePool, room};

use crate::contents::EtcList;
use crate::layers::Layer;
use crate::lock::Lock;
use crate::names::Name;
use crate::secrets::{Recipient, SshKey};
use crate::units::{Interval, Mac, Size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use uuid::Uuid;

/// One configuration repository: all its hosts, and the images their domUs start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fleet {
    /// What the fleet is called.
    pub name: Name,
    /// What its dom0 ISO is made of.
    pub release: Release,
    /// The Debian that releases and images are made from.
    pub debian: Debian,
    /// Where hosts take new commits from, if from anywhere.
    pub config: Option<Config>,
    /// Operators who can open all secrets.
    pub operators: Vec<Recipient>,
    /// Groups of hosts.
    pub groups: BTreeMap<Name, Group>,
    /// The physical servers.
    pub hosts: BTreeMap<Name, Host>,
    /// The recipes of domU images.
    pub images: BTreeMap<Name, Recipe>,
    /// What the names of images and releases stand for.
    pub locked: Lock,
    /// What images and releases have in `/etc`, by their names, as far as that is known.
    #[serde(skip)]
    pub lists: BTreeMap<String, EtcList>,
}

/// What a dom0 ISO is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Release {
    /// Its version, fit for a file name.
    pub version: String,
    /// The most memory dom0 can have: what Xen gives it at boot. A host may balloon it down.
    pub dom0_memory: Size,
    /// The least serial of a target that its hosts take.
    pub least_serial: u32,
    /// What its rescue shell asks for, as crypt(5) has it.
    pub rescue_password: Option<String>,
    /// Whether it runs domUs of kind hvm.
    pub hvm: bool,
    /// Debian packages in dom0 beyond those Domus needs.
    pub packages: Vec<String>,
}

/// The Debian that releases and images are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// The suite's code name.
    pub suite: String,
    /// Where packages come from; with none, what mmdebstrap takes by itself.
    pub mirror: Option<String>,
    /// Parts of the archive beside main.
    pub components: Vec<String>,
}

/// Where hosts take new commits from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// The repository, an `https://`, `ssh://` or `file:///` URL.
    pub remote: String,
    /// What they follow there.
    pub follow: Follow,
    /// How often they look.
    pub every: Interval,
    /// The SSH host key of an `ssh://` server.
    pub host_key: Option<SshKey>,
    /// What a host does with one that it took.
    pub apply: Policy,
}

/// What a host does with a commit that it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Whatever is live is done; domUs that have to be restarted go on as they are.
    #[default]
    Live,
    /// domUs are restarted, too.
    Restart,
    /// Nothing, until somebody says so.
    Manual,
}

/// What becomes of domains on a host that nobody declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strays {
    /// They are reported, and left alone.
    #[default]
    Report,
    /// They are destroyed.
    Destroy,
}

/// What hosts follow in the repository that they pull from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    /// Targets, which publishers sign.
    Targets,
    /// Whatever comes next on a branch.
    Branch(String),
}

impl Serialize for Follow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Targets => serializer.serialize_none(),
            Self::Branch(branch) => serializer.serialize_str(branch),
        }
    }
}

impl fmt::Display for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Targets => f.write_str("targets"),
            Self::Branch(branch) => f.write_str(branch),
        }
    }
}

/// Hosts that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// How many of its hosts may be lost, and their domUs still fit on the others.
    pub spare: u32,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Var {
    /// true or false.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A string.
    Text(String),
    /// A list of values that are no lists.
    List(Vec<Var>),
}

/// Variables by name.
pub type Vars = BTreeMap<String, Var>;

/// A physical server that runs dom0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its host name.
    pub name: Name,
    /// Its groups, the first the most general.
    pub groups: Vec<Name>,
    /// The version of the release that it boots.
    pub release: String,
    /// How it is recognised, and what it has.
    pub machine: Machine,
    /// What dom0 has of it.
    pub dom0: Dom0,
    /// When a new generation is kept.
    pub health: Health,
    /// Where domUs' volumes are.
    pub storage: Storage,
    /// Its bridges by name.
    pub networks: BTreeMap<Name, Network>,
    /// Who reaches dom0.
    pub firewall: Firewall,
    /// What becomes of domains that nobody declared. (`domUs` itself is what it runs.)
    #[serde(rename = "domUs.strays")]
    pub strays: Strays,
    /// Ports of dom0's addresses that lead to domUs.
    #[serde(rename = "forward")]
    pub forwards: Vec<Forward>,
    /// Variables of the fleet, its groups and its own.
    pub vars: Vars,
    /// The layers of its `/etc` above the image, the lowest first.
    #[serde(serialize_with = "crate::layers::names")]
    pub layers: Vec<Layer>,
    /// The domUs it runs.
    #[serde(rename = "domUs")]
    pub domus: BTreeMap<Name, DomU>,
}

impl Host {
    /// Bytes that volumes of its domUs take on the config partition.
    pub fn volumes_on_config(&self) -> u64 {
        if !self.storage.domus.is_on_config() {
            return 0;
        }
        let disks = self.domus.values().flat_map(|domu| &domu.disks);
        room(disks.filter_map(|disk| disk.backing.size()))
    }
}

/// How a physical server is recognised (at least one of the three), and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// The system UUID of its DMI tables.
    pub dmi_uuid: Option<Uuid>,
    /// The system serial number of its DMI tables.
    pub serial: Option<String>,
    /// The address of one of its network cards.
    pub mac: Option<Mac>,
    /// The memory that dom0 and domUs share.
    pub memory: Size,
    /// The logical CPUs that it has, if that is known.
    pub cpus: Option<u32>,
    /// The serial port that its boot is shown on.
    pub console: SerialConsole,
    /// Its SSH host key, for which its secrets are encrypted.
    pub key: Option<SshKey>,
}

/// When a host keeps a generation that it runs for the first time: all its domUs are up, and this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// How long it may take.
    pub deadline: Interval,
    /// Commands for dom0's shell that succeed then.
    pub commands: Vec<String>,
}

/// What dom0 has of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dom0 {
    /// Memory, at most the release's.
    pub memory: Size,
    /// Virtual CPUs; with none, one for each CPU of the machine.
    pub vcpus: Option<u32>,
    /// The share of each of these where CPUs are short.
    pub weight: u32,
    /// The name servers that it asks, in order.
    pub dns: Vec<IpAddr>,
    /// The time servers that it asks; without any, those that DHCP or the release names.
    pub ntp: Vec<String>,
}

impl Dom0 {
    /// What its weight is if nobody says so: it gets its CPU at once beside any domU.
    pub const WEIGHT: u32 = 8 * DomU::WEIGHT;
}

/// How a domU image is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The image's name.
    pub name: Name,
    /// The revision that domUs name.
    pub revision: u32,
    /// The Debian suite; with none, the fleet's.
    pub suite: Option<String>,
    /// Debian packages beyond those a domU needs.
    pub packages: Vec<String>,
    /// A directory that is copied over the root, relative to `images/`.
    pub files: Option<String>,
    /// Users to make.
    pub users: Vec<User>,
    /// systemd units to enable.
    pub enable: Vec<String>,
    /// Shell commands to run inside the root, last and in order.
    pub commands: Vec<String>,
    /// What it is, if it was made elsewhere. There is nothing of the others then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<ForeignDisk>,
}

/// A disk that was made elsewhere. Files are relative to `images/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignDisk {
    /// A whole disk or a partition.
    pub disk: String,
    /// The kernel that it is started with; with none, the GRUB of dom0 reads its menu.
    pub kernel: Option<String>,
    /// The initramfs of that kernel, if it has one.
    pub initrd: Option<String>,
}

/// A user inside a domU image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user's number, and that of the group of the same name.
    pub uid: u32,
    /// The login shell; with none, adduser's default.
    pub shell: Option<String>,
    /// The home directory; with none, adduser's default.
    pub home: Option<String>,
}
