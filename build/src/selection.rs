// SPDX-License-Identifier: GPL-3.0-or-later
//! Which files of a Debian tree a root image takes.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::roottar::RootTar;
use crate::systemd::NOT_STARTED;
use crate::unneeded::unneeded;

pub use crate::unneeded::Cut;

/// What mmdebstrap copies from the machine that builds, or writes about it: never part of a root.
const OF_THE_BUILDER: [&str; 4] = [
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/",
    "etc/hostname",
    "etc/resolv.conf",
];

/// What is left out of a tree, besides what stands above and [`NOT_STARTED`]; everything else is
/// taken. Paths are relative to `/`; one that ends with `/`, `_` or `-` stands for all that begins
/// with it.
#[derive(Debug, Clone, Copy)]
pub struct Selection {
    /// Left out altogether.
    pub left_out: &'static [&'static str],
    /// Directories whose files are left out and whose own directories stay: packages expect
    /// theirs to be there.
    pub emptied: &'static [&'static str],
    /// Directories of kernel modules, below `kernel/`, and whether they are taken. The longest
    /// that fits decides; what fits none is taken.
    pub modules: &'static [(&'static str, bool)],
    /// Dependencies that do not count: packages that nobody else needs are left out.
    pub cuts: &'static [Cut],
}

/// What a [`Selection`] takes of one tree.
#[derive(Debug, Clone)]
pub struct Chosen {
    selection: &'static Selection,
    /// Packages that are left out.
    packages: BTreeSet<String>,
    /// What these have, and nobody else.
    left_out: BTreeSet<String>,
}

impl Chosen {
    /// Whether the entry `path` is taken.
    pub fn takes(&self, path: &str, is_directory: bool) -> bool {
        // What postinst scripts made in a package's own directories goes with these.
        let mut above = Path::new(path).ancestors().map(Path::to_string_lossy);
        self.selection.takes(path, is_directory)
            && !above.any(|above| self.left_out.contains(&*above))
    }

    /// Whether the package is taken.
    pub fn takes_package(&self, name: &str) -> bool {
        !self.packages.contains(name)
    }
}

impl Selection {
    /// What it takes of `tree`.
    ///
    /// # Errors
    /// The tree's packages cannot be read.
    pub fn of(&'static self, tree: &RootTar) -> Result<Chosen> {
        let text = |path: &str| -> Result<String> {
            Ok(String::from_utf8_lossy(&tree.read(path)?).into_owned())
        };
        let mut packages = BTreeSet::new();
        let mut left_out = BTreeSet::new();
        if !self.cuts.is_empty() {
            let states = text("var/lib/apt/extended_states")?;
            packages = unneeded(&text("var/lib/dpkg/status")?, &states, self.cuts);
            let mut kept = BTreeSet::new();
            for list in tree.below("var/lib/dpkg/info/") {
                let Some(name) = list.strip_suffix(".list") else {
                    continue;
                };
                let name = name.rsplit('/').next().unwrap_or(name);
                let name = name.split(':').next().unwrap_or(name);
                let has = text(list)?;
                let has = has
                    .lines()
                    .map(|path| path.trim_start_matches('/').to_owned());
                match packages.contains(name) {
                    true => left_out.extend(has),
                    false => kept.extend(has),
                }
            }
            left_out.retain(|path| !kept.contains(path));
        }
        Ok(Chosen {
            selection: self,
            packages,
            left_out,
        })
    }

    /// Whether the entry `path` is taken of any tree.
    pub fn takes(&self, path: &str, is_directory: bool) -> bool {
        let listed =
            |out: &&str| *out == path || (out.ends_with(['/', '_', '-']) && path.starts_with(*out));
        if NOT_STARTED.contains(&path)
            || OF_THE_BUILDER.iter().any(listed)
            || self.left_out.iter().any(listed)
        {
            return false;
        }
        if !is_directory && self.emptied.iter().any(listed) {
            return false;
        }
        let module = path.strip_prefix("usr/lib/modules/");
        let module = module.and_then(|path| path.split_once("/kernel/"));
        module.is_none_or(|(_, module)| self.takes_module(module))
    }

    fn takes_module(&self, module: &str) -> bool {
        let rules = self
            .modules
            .iter()
            .filter(|(directory, _)| module.starts_with(directory));
        rules
            .max_by_key(|(directory, _)| directory.len())
            .is_none_or(|(_, taken)| *taken)
    }

    /// What of a selection belongs into a step's key: all of it.
    pub fn digest(&self) -> String {
        domus_system::digest::of_bytes(format!("{self:?}{NOT_STARTED:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_keep_their_log_directories() {
        let selection = Selection {
            left_out: &["boot/", "etc/ssh/ssh_host_"],
            emptied: &["var/log/"],
            modules: &[
                ("drivers/", false),
                ("drivers/net/", true),
                ("drivers/net/usb/", false),
            ],
            cuts: &[],
        };
        for (path, directory, taken) in [
            ("boot", true, true),
            ("boot/grub", true, false),
            ("etc/hostname", false, false),
            ("etc/hostname.d", false, true),
            ("etc/ssh/ssh_host_rsa_key", false, false),
            ("var/log/xen", true, true),
            ("var/log/dpkg.log", false, false),
            (
                "usr/lib/modules/6.12/kernel/drivers/scsi/sd_mod.ko.xz",
                false,
                false,
            ),
            (
                "usr/lib/modules/6.12/kernel/drivers/net/tun.ko.xz",
                false,
                true,
            ),
            (
                "usr/lib/modules/6.12/kernel/drivers/net/usb/asix.ko.xz",
                false,
                false,
            ),
            (
                "usr/lib/modules/6.12/kernel/fs/ext4/ext4.ko.xz",
                false,
                true,
            ),
        ] {
            assert_eq!(selection.takes(path, directory), taken, "{path}");
        }
    }
}
