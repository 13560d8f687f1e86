// SPDX-License-Identifier: GPL-3.0-or-later
//! A host or domU that a command is about, found by its name.

use anyhow::{Result, bail};
use domus_model::files::{Documents, Files};
use domus_model::fleet::{DomU, Host};
use domus_model::load::{Frame, Proof, Scope};
use domus_model::names::Name;

use crate::render;

/// A host, or a domU on it.
pub(crate) struct Machine<'f> {
    /// The host.
    pub(crate) host: Host,
    /// The documents of the host.
    pub(crate) documents: &'f Documents,
    /// The domU, if it is one.
    pub(crate) domu: Option<Name>,
}

impl<'f> Machine<'f> {
    /// Finds it; the documents of its host must have no errors, which are shown.
    ///
    /// # Errors
    /// There is none, or there are errors.
    pub(crate) fn find(files: &'f Files, frame: &Frame<'f>, name: &str) -> Result<Self> {
        let (directory, is_host) = directory(files, name)?;
        let documents = &files.hosts[directory];
        let mut proof = Proof::new(frame);
        let Some(host) = proof.host(directory, documents, &files.vservers) else {
            let (problems, _) = proof.finish(Scope::Slice);
            render::refuse(files, &problems);
            bail!("{directory} has errors, so nobody can say what it comes to");
        };
        let domu = host.domus.keys().find(|domu| domu.as_str() == name);
        let domu = domu.filter(|_| !is_host).cloned();
        Ok(Self {
            host,
            documents,
            domu,
        })
    }

    /// The domU, if it is one.
    pub(crate) fn domu(&self) -> Option<&DomU> {
        self.host.domus.get(self.domu.as_ref()?)
    }

    /// `host` or `domU`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.domu {
            Some(_) => "domU",
            None => "host",
        }
    }
}

/// The directory of the host that is called so, or that has a domU called so, and which of the two.
fn directory<'f>(files: &'f Files, name: &str) -> Result<(&'f str, bool)> {
    if let Some((directory, _)) = files.hosts.get_key_value(name) {
        return Ok((directory, true));
    }
    let domu = |host: &str| format!("pservers/{host}/domUs/{name}.toml");
    let mut hosts = files.hosts.iter();
    if let Some((directory, _)) = hosts.find(|(host, docs)| docs.contains(&domu(host))) {
        return Ok((directory, false));
    }
    bail!("the fleet has no host and no domU {name}; `ls pservers pservers/*/domUs` lists them")
}
