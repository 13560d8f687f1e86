// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the operator's keys for Secure Boot are: certificates in the fleet's repository, private
//! keys beside the operator's other settings.

use std::path::{Path, PathBuf};

use anyhow::Result;
use domus_model::names::Name;
use domus_model::secure_boot::{DIRECTORY, SIGNER};

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

/// The certificate that the releases of the repository `root` are signed for, if it has one.
pub(crate) fn signer(root: &Path) -> Option<PathBuf> {
    Some(certificate(&root.join(DIRECTORY), SIGNER)).filter(|path| path.exists())
}
