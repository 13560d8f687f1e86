// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the operator's private keys are, which are in no repository: beside the other settings.

use std::path::PathBuf;

use anyhow::{Context, Result};
use domus_model::names::Name;
use domus_model::secrets::SshKey;

/// The directory of a fleet's private keys of one kind, if nobody names another:
/// `$XDG_CONFIG_HOME/domus/KIND/FLEET`.
///
/// # Errors
/// There is no home directory.
pub(crate) fn directory(kind: &str, fleet: &Name) -> Result<PathBuf> {
    let dir = |key: &str| {
        let dir = std::env::var_os(key).filter(|value| !value.is_empty());
        dir.map(PathBuf::from)
    };
    let config = dir("XDG_CONFIG_HOME").or_else(|| Some(dir("HOME")?.join(".config")));
    let config = config.context("there is no $HOME; name a place for the keys")?;
    Ok(config.join("domus").join(kind).join(fleet.as_str()))
}

/// The file of a host's private key. Each key has its own, so that none is lost when a commit is
/// taken back.
///
/// # Errors
/// There is no home directory.
pub(crate) fn host_key(fleet: &Name, host: &Name, public: &SshKey) -> Result<PathBuf> {
    let file = format!("{host}-{}", public.short());
    Ok(directory("host-keys", fleet)?.join(file))
}
