// SPDX-License-Identifier: GPL-3.0-or-later
//! The tool root: image tools of the product's own Debian suite, run on any machine.
//!
//! Tools are started through the tool root's own dynamic linker and libraries. That needs no
//! privilege, no mount and no chroot, so nothing can be left behind; see
//! `docs/decisions/tool-root.md`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use domus_system::program::Program;

use crate::EPOCH;
use crate::cache::{Cache, Key};
use crate::debian::{Bootstrap, Variant};
use crate::progress::{Progress, step};

const PACKAGES: &[&str] = &[
    "binutils",
    "cryptsetup-bin",
    "e2fsprogs",
    "fdisk",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "libarchive-tools",
    "libarchive13t64",
    "mtools",
    "osslsigncode",
    "squashfs-tools",
    "xorriso",
];
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// An unpacked tool root.
#[derive(Debug, Clone)]
pub struct ToolRoot {
    dir: PathBuf,
    key: Key,
}

impl ToolRoot {
    /// The tool root of `suite`, made if it is not kept.
    ///
    /// # Errors
    /// mmdebstrap is missing or fails.
    pub fn open(
        cache: &Cache,
        suite: &str,
        mirror: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let bootstrap = Bootstrap {
            suite: suite.to_owned(),
            mirror: mirror.map(str::to_owned),
            components: Vec::new(),
            variant: Variant::Extract,
            packages: PACKAGES.iter().map(ToString::to_string).collect(),
            more: Vec::new(),
            hooks: Vec::new(),
        };
        let tree = bootstrap.tar(cache, progress, "tool root")?;
        let key = Key::new([("tree", tree.digest.as_str())]);
        let dir = cache.step("tools", &key, |to| {
            step(progress, "tool root: unpacking", || unpack(&tree.path, to))
        })?;
        Ok(Self { dir, key })
    }

    /// The digest of what the tools are.
    pub fn key(&self) -> &str {
        self.key.as_str()
    }

    /// A path inside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.join(inside)
    }

    /// The tool `name`, ready to be given arguments.
    ///
    /// # Errors
    /// The tool root has no such tool.
    pub fn program(&self, name: &str) -> Result<Program> {
        let found = ["usr/bin", "usr/sbin"]
            .map(|dir| self.path(dir).join(name))
            .into_iter()
            .find(|path| path.exists());
        ensure!(found.is_some(), "the tool root has no {name}");
        let libraries = self.path(LIBRARIES);
        Ok(Program::new(libraries.join("ld-linux-x86-64.so.2"))
            .args(["--argv0", name, "--library-path"])
            .arg(&libraries)
            .args(found)
            .env("SOURCE_DATE_EPOCH", EPOCH)
            // Some tools load further libraries by name, which the linker's argument covers too.
            .env("MTOOLS_SKIP_CHECK", "1"))
    }
}

/// Unpacks files and links; devices are of no use to a tool root and need privileges.
fn unpack(tar: &Path, to: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(std::fs::File::open(tar)?);
    archive.set_overwrite(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if !kind.is_character_special() && !kind.is_block_special() && !kind.is_fifo() {
            entry.unpack_in(to)?;
        }
    }
    Ok(())
}
