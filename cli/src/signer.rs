// SPDX-License-Identifier: GPL-3.0-or-later
//! Whoever signs: an SSH key of the operator's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::names::Name;
use domus_model::trust::{Namespace, Role, SigningKey, Trust};
use domus_repo::Repo;
use domus_system::ssh;

/// A key to sign with.
#[derive(Debug)]
pub(crate) struct Signer {
    file: PathBuf,
    /// Its public part.
    pub(crate) key: SigningKey,
}

impl Signer {
    /// The key in this file; or that which git signs with, or ~/.ssh/id_ed25519.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find(file: Option<&Path>, dir: &Path) -> Result<Self> {
        let of_git = || Repo::discover(dir).ok()?.signing_key();
        let of_home = || Some(Path::new(&std::env::var_os("HOME")?).join(".ssh/id_ed25519"));
        let file = file.map(Path::to_owned).or_else(of_git).or_else(of_home);
        let file = file.context("there is no $HOME; name a key with --key")?;
        let key = ssh::public_key(&file)
            .context("looking for a key to sign with; --key names another")?;
        Ok(Self { file, key })
    }

    /// What the document calls it, if it has this role there.
    pub(crate) fn name_in<'t>(&self, trust: &'t Trust, role: Role) -> Option<&'t Name> {
        let mut all = trust.with_role(role);
        all.find(|(_, key)| **key == self.key).map(|(name, _)| name)
    }

    /// Signs.
    ///
    /// # Errors
    /// The key cannot be used.
    pub(crate) fn sign(&self, namespace: Namespace, message: &[u8]) -> Result<String> {
        ssh::sign(&self.file, namespace, message)
    }
}
