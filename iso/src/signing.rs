// SPDX-License-Identifier: GPL-3.0-or-later
//! The operator's signatures: under programs of UEFI, for firmware, and beside them, for GRUB.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_build::EPOCH;
use domus_build::toolroot::ToolRoot;

use crate::openpgp::Key;

/// Who signs what UEFI starts.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The certificate, in DER, that hosts' firmware knows.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl Signing {
    /// Writes the program `unsigned` with a signature to `to`.
    pub(crate) fn sign(&self, tools: &ToolRoot, unsigned: &Path, to: &Path) -> Result<()> {
        // sbsign writes the time of day into its signatures; this one can be told.
        tools
            .program("osslsigncode")?
            .args(["sign", "-h", "sha256", "-time", EPOCH, "-certs"])
            .arg(&self.certificate)
            .arg("-key")
            .arg(&self.key)
            .arg("-in")
            .arg(unsigned)
            .arg("-out")
            .arg(to)
            .run()
            .with_context(|| format!("signing the boot image with {}", self.key.display()))
    }

    /// Writes a signature for GRUB beside the file, and returns where.
    pub(crate) fn signature(&self, file: &Path) -> Result<PathBuf> {
        let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let signature = Key::open(&self.key)?.sign(&content)?;
        let mut to = file.as_os_str().to_owned();
        to.push(".sig");
        let to = PathBuf::from(to);
        fs::write(&to, signature).with_context(|| format!("writing {}", to.display()))?;
        Ok(to)
    }

    /// Writes the key that GRUB checks signatures by to `to`.
    pub(crate) fn public(&self, to: &Path) -> Result<()> {
        let public = Key::open(&self.key)?.public();
        fs::write(to, public).with_context(|| format!("writing {}", to.display()))
    }
}
