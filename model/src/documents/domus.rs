// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus.toml`: the fleet.

use super::domu::DomUSettings;
use super::forms::{EVERY, MEMORY, PASSWORD, POLICY, name};
use super::host::HostSettings;
use super::place::At;
use super::table::{Table, VarsDoc};
use super::words::{
    BRANCH, COMPONENT, MIRROR, PACKAGE, RECIPIENT, RELEASE_VERSION, REMOTE, SSH_KEY, SUITE,
};
use crate::fleet::Policy;
use crate::names::Name;
use crate::secrets::{Recipient, SshKey};
use crate::units::{Interval, Size};

/// The fleet as written.
#[derive(Debug)]
pub(crate) struct FleetDoc {
    pub(crate) name: Option<At<Name>>,
    pub(crate) release: ReleaseDoc,
    pub(crate) debian: DebianDoc,
    /// Groups by name.
    pub(crate) groups: Vec<(At<Name>, GroupDoc)>,
    pub(crate) vars: VarsDoc,
    pub(crate) config: ConfigDoc,
    /// `[secrets] operators`
    pub(crate) operators: Vec<At<Recipient>>,
}

/// `[release]`
#[derive(Debug, Default)]
pub(crate) struct ReleaseDoc {
    pub(crate) version: Option<At<String>>,
    pub(crate) dom0_memory: Option<At<Size>>,
    pub(crate) least_serial: Option<At<u32>>,
    pub(crate) rescue_password: Option<At<String>>,
    pub(crate) hvm: Option<At<bool>>,
    pub(crate) packages: Vec<At<String>>,
}

/// `[debian]`
#[derive(Debug, Default)]
pub(crate) struct DebianDoc {
    pub(crate) suite: Option<At<String>>,
    pub(crate) mirror: Option<At<String>>,
    pub(crate) components: Vec<At<String>>,
}

/// `[config]`
#[derive(Debug, Default)]
pub(crate) struct ConfigDoc {
    pub(crate) remote: Option<At<String>>,
    pub(crate) follow: Option<At<String>>,
    pub(crate) every: Option<At<Interval>>,
    pub(crate) host_key: Option<At<SshKey>>,
    pub(crate) apply: Option<At<Policy>>,
}

/// `[groups.NAME]`. What it says of hosts and domUs is taken by those.
#[derive(Debug)]
pub(crate) struct GroupDoc {
    pub(crate) spare: Option<At<u32>>,
    pub(crate) vars: VarsDoc,
}

impl FleetDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        let release = document.table("release", "the dom0 ISO", ReleaseDoc::read);
        let debian = document.table("debian", "where packages come from", DebianDoc::read);
        let defaults = |table: &Table<'_>| {
            table.part("host", "for hosts", HostSettings::read);
            table.part("domU", "for domUs", DomUSettings::read);
        };
        let about = "what hosts and domUs have that do not say so themselves";
        document.table("defaults", about, defaults);
        let about = "where hosts take new commits from";
        let config = document.table("config", about, ConfigDoc::read);
        let operators = document.table("secrets", "encrypted files in layers", |table| {
            let about = "keys of people who can read all of them, and encrypt them anew";
            table.list("operators", about, &RECIPIENT)
        });
        Self {
            name: document.require("fleet", "its name", &name("example")),
            release: release.unwrap_or_default(),
            debian: debian.unwrap_or_default(),
            groups: document.named_tables(
                "groups",
                "hosts that have something in common",
                &name("web"),
                GroupDoc::read,
            ),
            vars: document.vars(),
            operators: operators.unwrap_or_default(),
            config: config.unwrap_or_default(),
        }
    }
}

impl ReleaseDoc {
    fn read(table: &Table<'_>) -> Self {
        let memory = "what Xen gives dom0 at boot: the most a host can leave it";
        let least = "the least serial of a target that hosts of this release take";
        let rescue = "what the rescue shell asks for, as crypt(5) has it; nothing without it";
        Self {
            version: table.read("version", "its version", &RELEASE_VERSION),
            dom0_memory: table.read("dom0-memory", memory, &MEMORY),
            least_serial: table.number("least-serial", least, 0..=u32::MAX),
            rescue_password: table.read("rescue-password", rescue, &PASSWORD),
            hvm: table.flag(
                "hvm",
                "whether it runs domUs of kind hvm: QEMU is in dom0 then",
            ),
            packages: table.list("packages", "more Debian packages in dom0", &PACKAGE),
        }
    }
}

impl DebianDoc {
    fn read(table: &Table<'_>) -> Self {
        let mirror = "the mirror, if not mmdebstrap's own choice";
        let components = "parts of the archive beside main, as non-free-firmware";
        Self {
            suite: table.read("suite", "the suite's code name", &SUITE),
            mirror: table.read("mirror", mirror, &MIRROR),
            components: table.list("components", components, &COMPONENT),
        }
    }
}

impl ConfigDoc {
    fn read(table: &Table<'_>) -> Self {
        let key = "SSH host key of the server that `remote` names by ssh://";
        let follow = "a branch whose commits they take as they come; without it, targets";
        let config = Self {
            remote: table.read("remote", "the repository that they pull from", &REMOTE),
            follow: table.read("follow", follow, &BRANCH),
            every: table.read("every", "how often they look", &EVERY),
            host_key: table.read("host-key", key, &SSH_KEY),
            apply: table.read("apply", "what they do with one that they took", &POLICY),
        };
        if ["follow", "every", "host-key", "apply"]
            .iter()
            .any(|key| table.has(key))
        {
            table.must_have("remote", || {
                format!("write remote = \"{}\"", REMOTE.example)
            });
        }
        let is_ssh = |remote: &At<String>| remote.value.starts_with("ssh://");
        if let (Some(remote), false) = (config.remote.as_ref(), table.has("host-key"))
            && is_ssh(remote)
        {
            let message = "nobody says by which key hosts know this server".to_owned();
            let help = "write host-key = \"ssh-ed25519 ...\", as `ssh-keyscan -t ed25519` reads it";
            table.notes().error(&remote.place, message, help);
        }
        config
    }
}

impl GroupDoc {
    fn read(table: &Table<'_>) -> Self {
        table.part("host", "what its hosts have", HostSettings::read);
        table.part("domU", "what domUs on its hosts have", DomUSettings::read);
        let spare = "how many of its hosts may be lost, and their domUs still fit on the others";
        Self {
            spare: table.number("spare", spare, 0..=1024),
            vars: table.vars(),
        }
    }
}
