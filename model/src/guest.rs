// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU as its config disk describes it to `domus-boot` inside, and the devices it is given.

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::documents::LayerDoc;
use crate::files::Documents;
use crate::fleet::{DomU, Vars};
use crate::layers::{Layer, Machine, compose};
use crate::names::{ImageRef, Name};

/// Name of this document at the root of a config disk.
pub const GUEST_DOCUMENT: &str = "domu.json";
/// Directory on a config disk with the secrets of layers, decrypted: below it, `LAYER/PATH`, the
/// layer's directory in the repository and the path below `/etc`.
pub const SECRETS: &str = "secrets";
/// The read-only image, in the guest.
pub const ROOT_DEVICE: &str = "xvda";
/// The config disk, in the guest.
pub const CONFIG_DEVICE: &str = "xvdb";

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
    /// Data volumes to mount.
    pub mounts: Vec<GuestMount>,
    /// What fills its templates.
    pub vars: Vars,
}

/// A data volume and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestMount {
    /// Device in the guest, as `xvdc`.
    pub device: String,
    /// Mount point.
    pub path: String,
}

impl GuestConfig {
    /// What dom0 tells `domu`, of `fleet`, at `commit`.
    pub fn new(fleet: &Name, domu: &DomU, commit: &str) -> Self {
        let mounts = domu.disks.iter().enumerate().filter_map(|(index, disk)| {
            Some(GuestMount {
                device: data_device(index),
                path: disk.mount.clone()?,
            })
        });
        Self {
            version: 1,
            fleet: fleet.clone(),
            name: domu.name.clone(),
            image: domu.image.clone(),
            commit: commit.to_owned(),
            mounts: mounts.collect(),
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

/// The device of a domU's data disk number `index` (from 0): `xvdc`, `xvdd` … `xvdz`, `xvdaa` …
pub fn data_device(index: usize) -> String {
    let mut letters = Vec::new();
    let mut n = index + 2;
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
    use super::data_device;

    #[test]
    fn data_disks_follow_the_image_and_the_config_disk() {
        assert_eq!(data_device(0), "xvdc");
        assert_eq!(data_device(23), "xvdz");
        assert_eq!(data_device(24), "xvdaa");
        assert_eq!(data_device(50), "xvdba");
    }
}
