// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the operator's keys for Secure Boot are: certificates in the fleet's repository, private
//! keys beside the operator's other settings.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::names::Name;
use domus_model::secure_boot::{DIRECTORY, SIGNER};

/// The directory of the private keys of a fleet, if nobody names another:
/// `$XDG_CONFIG_HOME/domus/secure-boot/FLEET`.
///
/// # Errors
/// There is no home directory.
pub(crate) fn private(fleet: &Name) -> Result<PathBuf> {
    let dir = |key: &str| {
        let dir = std::env::var_os(key).filter(|value| !value.is_empty());
        dir.map(PathBuf::from)
    };
    let config = dir("XDG_CONFIG_HOME").or_else(|| Some(dir("HOME")?.join(".config")));
    let config = config.context("there is no $HOME; name a place for the keys")?;
    Ok(config.join("domus").join(DIRECTORY).join(fleet.as_str()))
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
