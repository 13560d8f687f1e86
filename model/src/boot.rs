// SPDX-License-Identifier: GPL-3.0-or-later
//! `/run/domus/boot.json`: what `domus-boot` found, refused and composed.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::discovery::Seen;
use crate::layers::Layer;
use crate::marker::Identity;
use crate::names::{ImageRef, Name};
use crate::rendered::RenderedFile;
use crate::slots::{Booted, LeftRelease};
use crate::trial::Trial;
use crate::verity::Integrity;

/// Where the record of this boot is kept.
pub const BOOT_RECORD: &str = "/run/domus/boot.json";
/// The directory of the overlay of `/etc` that takes what is changed while a machine runs.
pub const ETC_UPPER: &str = "/run/domus/rw/etc/upper";
/// What `/etc` is composed of while a machine runs, a directory for each time, called by its number.
pub const ETCS: &str = "/run/domus/etc";
/// Where the root image is seen without what is mounted on it, while `/etc` is composed.
pub const IMAGE_ROOT: &str = "/run/domus/image";
/// Where the layers of `/etc` lie that a machine booted, in RAM.
pub const LAYERS: &str = "/run/domus/layers";
/// The host's own SSH key: who it is, and what opens its secrets.
pub const HOST_KEY: &str = "/config/state/ssh/ssh_host_ed25519_key";
/// Where the slice of the repository that this machine runs is exported to, in RAM.
pub const SLICE: &str = "/run/domus/slice";

/// What the initramfs of a release says about it (`/domus/release.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseIdentity {
    /// The fleet whose hosts may run it.
    pub fleet: Name,
    /// Version, as in domus.toml.
    pub version: String,
    /// Whether it runs commits that nobody signed.
    pub unsigned: bool,
    /// The `trust.toml` that its hosts believe, unless it is unsigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// SHA-256 of the certificate that its UEFI boot image is signed for, if it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<String>,
    /// The least serial of targets that its hosts take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub least_serial: u32,
    /// The password of its rescue shell, as crypt(3) has it; without one nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue_password: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Who made sure that this is the release that its operator built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verified {
    /// The firmware, by the operator's signature.
    SecureBoot,
    /// Nobody.
    #[default]
    Unverified,
}

impl Verified {
    /// What follows for a release, of which firmware says whether it checked what it started. A
    /// release that nobody signed for it cannot be what was checked.
    pub fn of(release: &ReleaseIdentity, firmware_checks: bool) -> Self {
        match release.secure_boot.is_some() && firmware_checks {
            true => Self::SecureBoot,
            false => Self::Unverified,
        }
    }

    /// For people, and in `boot.json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::SecureBoot => "secure-boot",
            Self::Unverified => "unverified",
        }
    }
}

/// How one boot went.
#[derive(Debug, Clone, Serialize)]
pub struct BootRecord {
    /// The release's version and whether it is unsigned; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseIdentity>,
    /// The release's id, as on the kernel command line; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_id: Option<String>,
    /// The device that the release was found on; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// The slot that GRUB booted it from, if its medium has slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Booted>,
    /// Why the release in the other slot was left, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_release: Option<LeftRelease>,
    /// Who verified the release; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Whether what the boot read of the root image was what was built; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Integrity>,
    /// Host, or domU, that this machine is.
    pub name: Option<Name>,
    /// The commit that it runs.
    pub commit: Option<String>,
    /// What says that it shall; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<StatementNote>,
    /// What is on trial, if that is what runs; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// What was left because it was not healthy; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// The image of a domU, as dom0 named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRef>,
    /// Who the machine said it is; none in a domU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Identity>,
    /// The config partition or config disk taken.
    pub config: Option<ConfigSource>,
    /// Every partition looked at and what was decided.
    pub looked_at: Vec<Seen>,
    /// The layers of `/etc`, lowest first.
    pub layers: Vec<Composed>,
    /// What was not booted, and what of the layers could not be done, in sentences.
    pub problems: Vec<String>,
    /// When things happened.
    pub timeline: Vec<Moment>,
}

/// What says that a host shall run a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementNote {
    /// The git commit that says so: a target, or the commit itself.
    pub id: String,
    /// The target's serial, if it is one.
    pub serial: Option<u32>,
    /// Who signed the commit; nobody where nobody has to.
    pub commit_by: Option<Name>,
    /// Who signed the target.
    pub target_by: Option<Name>,
}

impl fmt::Display for StatementNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |name: &Option<Name>| match name {
            Some(name) => format!("by {name}"),
            None => "by nobody".to_owned(),
        };
        match self.serial {
            Some(serial) => write!(
                f,
                "target {serial} signed {}, commit {}",
                by(&self.target_by),
                by(&self.commit_by)
            ),
            None => write!(f, "signed {}", by(&self.commit_by)),
        }
    }
}

/// A generation that a host went back from by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// What git calls the statement.
    pub statement: String,
    /// Why.
    pub why: String,
}

/// Where `/config` is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigSource {
    /// Its device.
    pub device: String,
    /// What that is.
    #[serde(default)]
    pub kind: ConfigKind,
    /// How it was recognised.
    pub bound_by: String,
    /// The seed that it was set up from in this boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
}

/// What `/config` is on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigKind {
    /// A host's config partition.
    #[default]
    Partition,
    /// A read-only seed.
    Seed,
    /// A domU's config disk.
    Disk,
}

/// How the marker of a partition that an operator named in the rescue shell was recognised.
pub const BY_HAND: &str = "hand";

impl ConfigSource {
    /// What there is to know of it, for people; nothing of what is as ever.
    pub fn line(&self) -> Option<String> {
        let device = &self.device;
        match (self.kind, &self.seed) {
            (ConfigKind::Seed, _) => Some(format!(
                "config {device}, a read-only seed: nothing is kept"
            )),
            (_, Some(seed)) => Some(format!("config {device}, set up from the seed {seed}")),
            _ => None,
        }
    }
}

/// A layer of `/etc` and how many files it gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composed {
    /// Its name: `image`, `generated`, `global`, `@GROUP`, the host's or domU's name.
    pub name: String,
    /// Files and links in it; none for the image's own, which is not counted.
    pub files: Option<usize>,
    /// Files and directories below that it removes.
    pub removed: usize,
}

/// An event of the boot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// Its name, as in the timeline of a rehearsal.
    pub event: String,
    /// Seconds since the kernel started.
    pub seconds: f64,
}

/// The line for the console that says which layers `/etc` has.
pub fn layers_line(layers: &[Composed]) -> String {
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    let files: usize = layers.iter().filter_map(|layer| layer.files).sum();
    let removed: usize = layers.iter().map(|layer| layer.removed).sum();
    let removed = match removed {
        0 => String::new(),
        _ => format!(", {removed} removed"),
    };
    format!("{}   {files} files{removed}", names.join(" < "))
}

/// All layers of `/etc`, the lowest first, given those above the image.
pub fn composed(generated: &[RenderedFile], layers: &[Layer]) -> Vec<Composed> {
    let image = Composed {
        name: "image".into(),
        files: None,
        removed: 0,
    };
    let generated = Composed {
        name: "generated".into(),
        files: Some(generated.len()),
        removed: 0,
    };
    let own = layers.iter().map(|layer| Composed {
        name: layer.name.clone(),
        files: Some(layer.files.len()),
        removed: layer.remove.len(),
    });
    [image, generated].into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_config_is_from_is_said_if_it_is_or_was_a_seed() {
        let mut config = ConfigSource {
            device: "/dev/sda1".into(),
            kind: ConfigKind::Partition,
            bound_by: "serial".into(),
            seed: None,
        };
        assert_eq!(config.line(), None);
        let json = serde_json::to_value(&config).expect("JSON");
        assert_eq!(
            (&json["kind"], json.get("seed")),
            (&"partition".into(), None)
        );
        config.seed = Some("/dev/sr0".into());
        let line = config.line().expect("a line");
        assert_eq!(line, "config /dev/sda1, set up from the seed /dev/sr0");
        config.kind = ConfigKind::Seed;
        let line = config.line().expect("a line");
        assert_eq!(line, "config /dev/sda1, a read-only seed: nothing is kept");
    }

    #[test]
    fn a_boot_is_verified_if_the_release_is_signed_and_firmware_looks() {
        let mut release = ReleaseIdentity {
            fleet: "example".parse().expect("a name"),
            version: "1".into(),
            unsigned: false,
            trust: None,
            secure_boot: None,
            least_serial: 0,
            rescue_password: None,
        };
        assert_eq!(Verified::of(&release, true), Verified::Unverified);
        release.secure_boot = Some("ab".repeat(32));
        assert_eq!(Verified::of(&release, false), Verified::Unverified);
        let verified = Verified::of(&release, true);
        let json = serde_json::to_value(verified).expect("JSON");
        assert_eq!(json, verified.word());
        assert_eq!(json, "secure-boot");
    }
}
