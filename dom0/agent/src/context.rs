// SPDX-License-Identifier: GPL-3.0-or-later
//! What this host is and shall run: the record of its boot and the documents of its commit.

use std::fs;

use anyhow::{Context as _, Result, bail};
use domus_model::boot::{ReleaseIdentity, StatementNote};
use domus_model::fleet::{DomU, Fleet, Host};
use domus_model::names::Name;
use domus_repo::Repo;
use domus_system::documents::{self, HostSlice};
use serde::Deserialize;
use serde_json::Value;

use crate::args::Args;
use crate::lock::Lock;
use crate::paths::Paths;

/// This host.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Where its things are.
    pub(crate) paths: Paths,
    /// Where its libvirt is.
    pub(crate) uri: String,
    /// The fleet it belongs to.
    pub(crate) fleet: Name,
    /// What its commit says of the fleet, hosts left out.
    pub(crate) wanted: Fleet,
    /// What its release says of itself; nothing where no release booted it.
    pub(crate) identity: Option<ReleaseIdentity>,
    /// What its commit wants of it.
    pub(crate) host: Host,
    /// That commit.
    pub(crate) commit: String,
    /// What said that it shall be booted.
    pub(crate) statement: StatementNote,
    /// The release that it runs, for people; none where no release booted it.
    pub(crate) release: Option<String>,
    /// What of `/etc` could not be done when it booted.
    pub(crate) problems: Vec<String>,
    /// The whole record of the boot.
    pub(crate) record: Value,
}

/// What the agent needs of the record that `domus-boot` wrote.
#[derive(Debug, Deserialize)]
struct Boot {
    name: Name,
    commit: String,
    release: Option<ReleaseIdentity>,
    release_id: Option<String>,
    statement: StatementNote,
    #[serde(default)]
    problems: Vec<String>,
}

impl Context {
    /// Reads the record and the documents.
    ///
    /// # Errors
    /// This machine was not booted by `domus-boot`, or its commit does not pass `domus check`.
    pub(crate) fn load(args: &Args) -> Result<Self> {
        let paths = Paths::below(&args.root);
        let path = paths.boot_record();
        let doing = || format!("reading {}, which domus-boot writes", path.display());
        let text = fs::read(&path).with_context(doing)?;
        let record: Value = serde_json::from_slice(&text).with_context(doing)?;
        let boot = Boot::deserialize(&record).with_context(doing)?;
        let slice = documents::read_slice(&paths.slice(), &boot.commit, &boot.name)?;
        let HostSlice { fleet, host, .. } = slice;
        Ok(Self {
            paths,
            uri: args.uri.clone(),
            fleet: fleet.name.clone(),
            wanted: fleet,
            host,
            release: boot.release_line(),
            identity: boot.release,
            problems: boot.problems,
            commit: boot.commit,
            statement: boot.statement,
            record,
        })
    }

    /// The repository on the config partition, for who changes it: nobody else does meanwhile, and
    /// what somebody who was cut off left behind is cleared away.
    ///
    /// # Errors
    /// It is damaged, or the disk is read-only.
    pub(crate) fn repository(&self) -> Result<(Lock, Repo)> {
        let lock = Lock::of(&self.paths.repo_lock(), "that changes the repository")?;
        let repo = Repo::open(&self.paths.repo())?;
        repo.clear_leftovers()?;
        Ok((lock, repo))
    }

    /// The version of the release that runs, and its id.
    pub(crate) fn release_id(&self) -> (&str, Option<&str>) {
        let version = self.identity.as_ref().map_or("", |it| it.version.as_str());
        (version, self.record["release_id"].as_str())
    }

    /// The release that the commit wants of this host, if another one booted it.
    pub(crate) fn other_release(&self) -> Option<String> {
        let runs = &self.identity.as_ref()?.version;
        let wanted = &self.host.release;
        (wanted != runs).then(|| wanted.clone())
    }

    /// The domU `name`.
    ///
    /// # Errors
    /// The host has none of that name.
    pub(crate) fn domu(&self, name: &Name) -> Result<&DomU> {
        let Some(domu) = self.host.domus.get(name) else {
            let names: Vec<&str> = self.host.domus.keys().map(Name::as_str).collect();
            let host = &self.host.name;
            match names.is_empty() {
                true => bail!("there is no domU {name}: {host} has none at all"),
                false => bail!(
                    "there is no domU {name} on {host}; there are: {}",
                    names.join(", ")
                ),
            }
        };
        Ok(domu)
    }
}

impl Boot {
    /// Version and the first digits of the id.
    fn release_line(&self) -> Option<String> {
        let version = &self.release.as_ref()?.version;
        let id = self.release_id.as_deref().unwrap_or("no id");
        Some(format!("{version} ({})", id.get(..12).unwrap_or(id)))
    }
}
