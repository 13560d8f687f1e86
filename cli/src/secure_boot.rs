// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the operator's keys for Secure Boot are: certificates in the fleet's repository, private
//! keys beside the operator's other settings.

use std::path::{Path, PathBuf};

use anyhow::Result;
use domus_iso::Signing;
use domus_model::names::Name;
use domus_model::secure_boot::{DIRECTORY, SIGNER};

use crate::opened::Opened;
use crate::private;

/// The directory of the private keys of a fleet, if nobody names another.
///
/// # Errors
/// There is no home directory.
pub(crate) fn private(fleet: &Name) -> Result<PathBuf> {
    private::directory(DIRECTORY, fleet)
}

/// The file of a private key in `dir`.
pub(crate) fn key(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.key"))
}

/// The file of a certificate in `dir`.
pub(crate) fn certificate(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.cer"))
}

/// Which private key signs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SignerKey {
    /// The private key that signs what UEFI starts, if the fleet has such keys; without it, db.key
    /// where `domus keys secure-boot` puts it
    #[arg(long = "secure-boot-key", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Who signs, or why nobody can.
pub(crate) type Signer = Result<Signing, String>;

impl SignerKey {
    /// Who signs what UEFI starts, if the fleet has keys for that.
    ///
    /// # Errors
    /// There is no home directory.
    pub(crate) fn signer(&self, opened: &Opened) -> Result<Option<Signer>> {
        let certificate = certificate(&opened.root.join(DIRECTORY), SIGNER);
        if !certificate.exists() {
            return Ok(None);
        }
        let kept = || Ok(key(&private(&opened.fleet.name)?, SIGNER));
        let key = self
            .file
            .clone()
            .map_or_else(kept, Ok::<_, anyhow::Error>)?;
        Ok(Some(match key.exists() {
            true => Ok(Signing { certificate, key }),
            false => Err(format!(
                "hosts start what is signed for {}, and its private key is not at {}.\n\
                 --secure-boot-key names the file that has it",
                certificate.display(),
                key.display()
            )),
        }))
    }
}
