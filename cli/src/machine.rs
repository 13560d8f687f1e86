// SPDX-License-Identifier: GPL-3.0-or-later
//! A host or domU that a command is about, found by its name.

use anyhow::{Result, bail};
use domus_model::files::{Documents, Files};
use domus_model::fleet::{DomU, Host};
use domus_model::load::{Frame, Proof, Scope};
use domus_model::names::Name;

use crate::render;
use crate::tree::Tree;

/// Where a host or domU is.
#[derive(Debug)]
pub(crate) struct Place {
    /// The documents that concern its host.
    pub(crate) files: Files,
    /// What the host's directory is called.
    host: String,
    /// Whether it is a domU on that host.
    domu: Option<Name>,
}

impl Place {
    /// Finds the host or domU of that name.
    ///
    /// # Errors
    /// There is none, or documents cannot be read.
    pub(crate) fn find(tree: &Tree, name: &Name) -> Result<Self> {
        let files = tree.slice(name.as_str())?;
        if !files.hosts.is_empty() {
            let host = name.to_string();
            let domu = None;
            return Ok(Self { files, host, domu });
        }
        let Some(host) = tree.host_of(name.as_str())? else {
            bail!(
                "the fleet has no host and no domU {name}; \
                 `ls pservers pservers/*/domUs` lists them"
            );
        };
        Ok(Self {
            files: tree.slice(&host)?,
            host,
            domu: Some(name.clone()),
        })
    }
}

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
    /// What it comes to; the documents of its host must have no errors, else they are shown.
    ///
    /// # Errors
    /// There are errors.
    pub(crate) fn new(place: &'f Place, frame: &Frame<'f>) -> Result<Self> {
        let host = host(&place.files, frame, &place.host)?;
        Ok(Self {
            host,
            documents: &place.files.hosts[&place.host],
            domu: place.domu.clone(),
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

/// What the documents of a host come to; errors in them are shown.
///
/// # Errors
/// There are errors.
pub(crate) fn host(files: &Files, frame: &Frame<'_>, name: &str) -> Result<Host> {
    let mut proof = Proof::new(frame);
    let host = proof.host(name, &files.hosts[name], &files.vservers);
    let (problems, _) = proof.finish(Scope::Slice);
    match host {
        Some(host) => Ok(host),
        None => {
            render::refuse(files, &problems);
            bail!("{name} has errors, so nobody can say what it comes to")
        }
    }
}
