// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU as its config disk describes it to `domus-boot` inside, and the devices it is given.

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::documents::LayerDoc;
use crate::files::Documents;
use crate::fleet::{Disk, DomU, Fs, Kind, Vars};
use crate::layers::{Layer, Machine, compose};
use crate::names::{ImageRef, Name};

/// Name of this document at the root of a config disk.
pub const GUEST_DOCUMENT: &str = "domu.json";
/// Directory on a config disk with the secrets of layers, decrypted: below it, `LAYER/PATH`, the
/// layer's directory in the repository and the path below `/etc`.
pub const SECRETS: &str = "secrets";

/// The read-only image, in a guest of this kind. QEMU would emulate the first four disks of an hvm,
/// and cannot emulate one that is read-only (libxl_dm.c of Xen): they are left out there.
pub fn root_device(kind: Kind) -> &'static str {
    match kind {
        Kind::Pv | Kind::Pvh => "xvda",
        Kind::Hvm => "xvde",
    }
}

/// The config disk, in a guest of this kind.
pub fn config_device(kind: Kind) -> &'static str {
    match kind {
        Kind::Pv | Kind::Pvh => "xvdb",
        Kind::Hvm => "xvdf",
    }
}

/// The read-only image, in the guest whose config disk is this.
pub fn root_beside(config: &str) -> &'static str {
    let is_it = |kind: &Kind| config_device(*kind) == config;
    root_device(
        [Kind::Pvh, Kind::Hvm]
            .into_iter()
            .find(is_it)
            .unwrap_or(Kind::Pvh),
    )
}

/// What dom0 tells a domU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// Version of this document: 1.
    pub version: u32,
    /// The fleet.
    pub fleet: Name,
    /// The domU's name, its host name too.
    pub name: Name,
    /// The image that dom0 gave it.
    pub image: ImageRef,
    /// The commit its configuration comes from.
    pub commit: String,
    /// Data disks to mount.
    pub mounts: Vec<GuestMount>,
    /// Data disks to swap to, as `xvdd`. Images that are older do not know of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swap: Vec<String>,
    /// The command that succeeds as long as the guest is well, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// What fills its templates.
    pub vars: Vars,
}

/// A data disk and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestMount {
    /// Device in the guest, as `xvdc`.
    pub device: String,
    /// Mount point.
    pub path: String,
    /// What is on it. Images that are older know ext4 alone, and that unsaid.
    #[serde(default, skip_serializing_if = "Mounted::is_ext4")]
    pub fs: Mounted,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounted {
    /// An ext4.
    #[default]
    Ext4,
    /// An XFS.
    Xfs,
    /// The root of an image, read-only.
    Image,
}

impl Mounted {
    /// What is mounted of a disk; `None` of one that cannot be.
    pub fn of(disk: &Disk) -> Option<Self> {
        match (disk.backing.image(), disk.fs) {
            (Some(_), _) => Some(Self::Image),
            (None, Fs::Ext4) => Some(Self::Ext4),
            (None, Fs::Xfs) => Some(Self::Xfs),
            (None, Fs::Swap | Fs::Scratch | Fs::None) => None,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_ext4(&self) -> bool {
        *self == Self::Ext4
    }
}

impl GuestConfig {
    /// What dom0 tells `domu`, of `fleet`, at `commit`.
    pub fn new(fleet: &Name, domu: &DomU, commit: &str) -> Self {
        let disks = domu.disks.iter().enumerate();
        let disks = disks.map(|(index, disk)| (data_device(domu.kind, index), disk));
        let mounts = disks.clone().filter_map(|(device, disk)| {
            Some(GuestMount {
                device,
                path: disk.mount.clone()?,
                fs: Mounted::of(disk)?,
            })
        });
        let swap = disks.filter(|(_, disk)| disk.fs == Fs::Swap);
        Self {
            version: 1,
            fleet: fleet.clone(),
            name: domu.name.clone(),
            image: domu.image.clone(),
            commit: commit.to_owned(),
            mounts: mounts.collect(),
            swap: swap.map(|(device, _)| device).collect(),
            health: domu.health.clone(),
            vars: domu.vars.clone(),
        }
    }

    /// The layers of its `/etc`, from the documents that its config disk brings.
    ///
    /// # Errors
    /// What is wrong with them: dom0 gives none that has errors.
    pub fn layers(
        &self,
        shared: &Documents,
        own: &Documents,
    ) -> Result<Vec<Layer>, Vec<Diagnostic>> {
        let mut notes = Vec::new();
        let name = self.name.as_str();
        let global = LayerDoc::read("global", "global", shared, None, &mut notes);
        let own = LayerDoc::read(name, format!("vservers/{name}"), own, None, &mut notes);
        let machine = Machine {
            fleet: &self.fleet,
            kind: "domU",
            name: &self.name,
            groups: &[],
            vars: &self.vars,
        };
        let layers = compose(&machine, [&global, &own], &mut notes);
        match notes.iter().any(Diagnostic::is_error) {
            true => Err(notes),
            false => Ok(layers),
        }
    }

    /// The document as written to the config disk.
    pub fn render(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// The device of data disk number `index` (from 0) in a guest of this kind: `xvdc`, `xvdd` …
/// `xvdz`, `xvdaa` …; in an hvm from `xvdg`.
pub fn data_device(kind: Kind, index: usize) -> String {
    let mut letters = Vec::new();
    let mut n = match kind {
        Kind::Pv | Kind::Pvh => index + 2,
        Kind::Hvm => index + 6,
    };
    loop {
        letters.insert(0, b'a' + u8::try_from(n % 26).unwrap_or(0));
        if n < 26 {
            break;
        }
        n = n / 26 - 1;
    }
    format!("xvd{}", String::from_utf8_lossy(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_disks_follow_the_image_and_the_config_disk() {
        for (index, device) in [(0, "xvdc"), (23, "xvdz"), (24, "xvdaa"), (50, "xvdba")] {
            assert_eq!(data_device(Kind::Pvh, index), device);
        }
        assert_eq!(data_device(Kind::Hvm, 0), "xvdg");
        for kind in [Kind::Pv, Kind::Pvh, Kind::Hvm] {
            assert_eq!(root_beside(config_device(kind)), root_device(kind));
        }
    }
}
