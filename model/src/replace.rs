// SPDX-License-Identifier: GPL-3.0-or-later
//! Another machine for a host: what its documents had, which secrets are concerned, and what has to
//! follow.

mod next;
mod render;

use crate::bad_value::BadValue;
use crate::documents::{HostDocs, MachineDoc, Shared, takes};
use crate::files::Files;
use crate::fleet::Fleet;
use crate::marker::Binding;
use crate::names::Name;
use crate::secrets::{Needs, Secret, SshKey};
use serde::Serialize;
use uuid::Uuid;

/// What a machine is known by: to its boot, and to who encrypts for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// How it is recognised.
    pub binding: Binding,
    /// Its SSH host key, if it is known.
    pub key: Option<SshKey>,
}

/// A disk that takes the place of another, both by their names in `/dev/disk/by-id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// The one that goes.
    pub old: String,
    /// The one that comes.
    pub new: String,
}

/// A host with another machine, or another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// The host.
    pub host: Name,
    /// Whether it is written: not in a dry run.
    pub written: bool,
    /// What it was known by.
    pub before: Identity,
    /// What it is known by now; in a dry run without the key, which is made when it is written.
    pub after: Identity,
    /// The disks that were exchanged.
    pub disks: Vec<Exchange>,
    /// The file of its private key; none in a dry run.
    pub private_key: Option<String>,
    /// The file of the private key of before, if it is here.
    pub old_private_key: Option<String>,
    /// The secrets that were encrypted anew, by their paths in the repository.
    pub rekeyed: Vec<String>,
    /// Those that the key of before opens, in the commits of before.
    pub known: Vec<String>,
    /// What has to follow, in sentences.
    pub next: Vec<String>,
}

/// Reads the UUID of a machine, as documents take it.
///
/// # Errors
/// It is none, or one that many machines have.
pub fn dmi_uuid(text: &str) -> Result<Uuid, BadValue> {
    takes::uuid(text)
}

/// Reads the serial number of a machine, as documents take it.
///
/// # Errors
/// It is none, or one that many machines have.
pub fn serial(text: &str) -> Result<String, BadValue> {
    takes::serial(text)
}

/// Reads the name of a disk, as `[storage]` takes it.
///
/// # Errors
/// It is none.
pub fn disk(text: &str) -> Result<String, BadValue> {
    takes::disk(text)
}

impl Identity {
    /// What these documents say that the host is known by, as far as they can be read.
    pub fn read(files: &Files, host: &Name) -> Self {
        let Some(documents) = files.hosts.get(host.as_str()) else {
            return Self::default();
        };
        let mut notes = Vec::new();
        let shared = Shared::read(&files.shared, &mut notes);
        let vservers = &files.vservers;
        let docs = HostDocs::read(&shared, host.as_str(), documents, vservers, &mut notes);
        let machine = docs
            .body()
            .and_then(|(_, host)| host.settings.machine.as_ref());
        machine.map(Self::of).unwrap_or_default()
    }

    fn of(machine: &MachineDoc) -> Self {
        Self {
            binding: Binding {
                dmi_uuid: machine.dmi_uuid.as_ref().map(|it| it.value),
                serial: machine.serial.as_ref().map(|it| it.value.clone()),
                mac: machine.mac.as_ref().map(|it| it.value),
            },
            key: machine.key.as_ref().map(|it| it.value.clone()),
        }
    }
}

/// The secrets among these that have to be encrypted anew when the host gets another key than
/// `old`: those that it needs, and those that `old` opens.
pub fn concerned<'s>(
    secrets: &'s [Secret],
    needs: &Needs,
    host: &Name,
    old: Option<&SshKey>,
) -> Vec<&'s Secret> {
    let needed = |secret: &Secret| {
        let mut hosts = needs.hosts_of(&secret.path);
        hosts.any(|(needs, _)| needs == host.as_str())
    };
    let concerned = |secret: &&Secret| needed(secret) || opens(old, secret);
    secrets.iter().filter(concerned).collect()
}

/// The paths of the secrets among these that the key opens.
pub fn known<'s>(
    secrets: impl IntoIterator<Item = &'s Secret>,
    key: Option<&SshKey>,
) -> Vec<String> {
    let known = secrets.into_iter().filter(|secret| opens(key, secret));
    known.map(|secret| secret.path.clone()).collect()
}

fn opens(key: Option<&SshKey>, secret: &Secret) -> bool {
    let recipients = secret.recipients.as_ref();
    key.is_some_and(|key| recipients.is_ok_and(|all| all.include(key)))
}

/// Why the host is not bound to what was asked for, if it is not: something else of its binding
/// comes from a group or the fleet.
pub fn misses(fleet: &Fleet, host: &Name, wanted: &Binding) -> Option<String> {
    let bound = Binding::from(&fleet.hosts.get(host)?.machine);
    let mut lines = bound.lines().into_iter().zip(wanted.lines());
    let ((line, value), _) = lines.find(|(bound, wanted)| bound != wanted)?;
    Some(format!(
        "{host} takes {line} {} from a group or from the fleet, and the new machine has another; \
         take it out of domus.toml",
        value.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::load;
    use crate::secrets::secrets;

    const OLD: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBy/04APQQ0EpxOCz1U7/yLtiAZLNS7dOx+PtgRZDYaw";

    /// A secret that `OLD` opens, or somebody else; age's own sums are not looked at.
    fn secret(tag: &str) -> Vec<u8> {
        format!("age-encryption.org/v1\n-> ssh-ed25519 {tag} x\nx\n--- x\n\0").into_bytes()
    }

    fn files() -> Files {
        let mut files = Files::new();
        let fleet = "version = 1\nfleet = \"small\"\n[groups.web]\n[groups.left]\n\
                     [groups.web.host]\nmachine.memory = \"4GiB\"\n";
        files.insert("domus.toml", fleet.into());
        let alpha = format!(
            "version = 1\ngroups = [\"web\"]\n[machine]\nserial = \"8QXK\"\nkey = \"{OLD}\"\n"
        );
        files.insert("pservers/alpha/host.toml", alpha.into());
        let beta = "version = 1\n[machine]\nserial = \"9QXK\"\nmemory = \"4GiB\"\n";
        files.insert("pservers/beta/host.toml", beta.into());
        for (layer, tag) in [
            ("groups/web", "ColcGg"),
            ("groups/left", "ColcGg"),
            ("pservers/alpha", "AAAAAA"),
            ("pservers/beta", "AAAAAA"),
        ] {
            let etc = "version = 1\nsecret = [\"key.age\"]\n";
            files.insert(format!("{layer}/etc.toml"), etc.into());
            files.insert(format!("{layer}/etc/key.age"), secret(tag));
        }
        files
    }

    #[test]
    fn what_a_host_was_known_by_is_read_though_its_documents_prove_nothing() {
        let (files, host) = (files(), "alpha".parse().expect("a name"));
        assert!(load(&files).is_err(), "beta has no key");
        let identity = Identity::read(&files, &host);
        assert_eq!(identity.binding.serial.as_deref(), Some("8QXK"));
        assert_eq!(identity.key, OLD.parse().ok());
        let nobody = Identity::read(&files, &"gamma".parse().expect("a name"));
        assert_eq!(nobody, Identity::default());
    }

    #[test]
    fn what_a_host_needs_and_what_its_old_key_opens_is_encrypted_anew() {
        let (secrets, needs) = secrets(&files());
        let (host, old): (Name, SshKey) = (
            "alpha".parse().expect("a name"),
            OLD.parse().expect("a key"),
        );
        let concerned = concerned(&secrets, &needs, &host, Some(&old));
        let paths: Vec<&str> = concerned.iter().map(|it| it.path.as_str()).collect();
        let [left, web, own] = [
            "groups/left/etc/key.age",
            "groups/web/etc/key.age",
            "pservers/alpha/etc/key.age",
        ];
        assert_eq!(paths, [left, web, own]);
        assert_eq!(known(concerned.iter().copied(), Some(&old)), [left, web]);
        assert!(known(concerned.iter().copied(), None).is_empty());
    }

    #[test]
    fn what_a_group_binds_is_told() {
        let mut files = Files::new();
        let fleet =
            "version = 1\nfleet = \"small\"\n[groups.web.host.machine]\nserial = \"8QXK\"\n";
        files.insert("domus.toml", fleet.into());
        let host = "version = 1\ngroups = [\"web\"]\n[machine]\nmac = \"3c:ec:ef:12:34:56\"\nmemory = \"4GiB\"\n";
        files.insert("pservers/alpha/host.toml", host.into());
        let fleet = load(&files).expect("a fleet");
        let name = "alpha".parse().expect("a name");
        let mut wanted = Binding {
            mac: "3c:ec:ef:12:34:56".parse().ok(),
            ..Binding::default()
        };
        let why = misses(&fleet, &name, &wanted).expect("a reason");
        assert!(
            why.starts_with("alpha takes serial 8QXK from a group"),
            "{why}"
        );
        wanted.serial = Some("8QXK".to_owned());
        assert_eq!(misses(&fleet, &name, &wanted), None);
    }
}
