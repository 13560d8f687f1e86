// SPDX-License-Identifier: GPL-3.0-or-later
//! What this host is and shall run: the record of its boot and the documents of its commit.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use domus_model::boot::{ConfigKind, ConfigSource, ReleaseIdentity, StatementNote, Verified};
use domus_model::changes::Side;
use domus_model::files::Files;
use domus_model::fleet::{DomU, Fleet, Host};
use domus_model::names::Name;
use domus_model::slots::Booted;
use domus_model::verity::Integrity;
use domus_repo::Repo;
use domus_system::documents::{self, HostSlice};
use serde::Deserialize;
use serde_json::Value;

use crate::args::Args;
use crate::lock::Lock;
use crate::paths::Paths;
use crate::taken::Taken;

/// This host, at one commit.
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
    /// That commit: as far as nobody says otherwise, the one that its `/etc` is of.
    pub(crate) commit: String,
    /// What said that it shall be run.
    pub(crate) statement: StatementNote,
    /// The host's part of it.
    pub(crate) slice: PathBuf,
    /// The documents in there.
    pub(crate) files: Files,
    /// The commit that it booted.
    pub(crate) booted: String,
    /// What git calls the statement that said so.
    pub(crate) booted_by: String,
    /// The release that it runs, for people; none where no release booted it.
    pub(crate) release: Option<String>,
    /// Who verified that release when it booted.
    pub(crate) verified: Verified,
    /// The slot that GRUB booted it from, if its medium has slots.
    pub(crate) slot: Option<Booted>,
    /// Whether the boot read its root as it was built; none where nothing proves it.
    pub(crate) root: Option<Integrity>,
    /// What `/config` is on.
    pub(crate) config: Option<ConfigSource>,
    /// What of `/etc` could not be done.
    pub(crate) problems: Vec<String>,
    /// What of a commit that it was not booted with its release does not know.
    pub(crate) warnings: Vec<String>,
    /// What tells the records that this was read from from later ones.
    pub(crate) stamp: Stamp,
    /// What is left of taking the commit, if it was taken since the boot.
    pub(crate) taken: Option<Taken>,
    /// The whole record of the boot.
    pub(crate) record: Value,
}

/// On a host all domUs are its own.
static NOWHERE_ELSE: BTreeMap<Name, Name> = BTreeMap::new();

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
    #[serde(default)]
    verified: Verified,
    root: Option<Integrity>,
    slot: Option<Booted>,
    config: Option<ConfigSource>,
}

impl Context {
    /// Reads the record and the documents.
    ///
    /// # Errors
    /// This machine was not booted by `domus-boot`, or its commit does not pass `domus check`.
    pub(crate) fn load(args: &Args) -> Result<Self> {
        Self::read(Paths::below(&args.root), args.uri.clone())
    }

    /// The same host as it is now: somebody else may have taken another commit meanwhile.
    ///
    /// # Errors
    /// As [`Context::load`].
    pub(crate) fn again(&self) -> Result<Self> {
        Self::read(self.paths.clone(), self.uri.clone())
    }

    /// Whether nobody has taken another commit since this was read.
    pub(crate) fn is_current(&self) -> bool {
        self.stamp == stamp(&self.paths)
    }

    fn read(paths: Paths, uri: String) -> Result<Self> {
        let stamp = stamp(&paths);
        let path = paths.boot_record();
        let doing = || format!("reading {}, which domus-boot writes", path.display());
        let text = fs::read(&path).with_context(doing)?;
        let record: Value = serde_json::from_slice(&text).with_context(doing)?;
        let boot = Boot::deserialize(&record).with_context(doing)?;
        let taken = Taken::read(&paths)?;
        let commit = taken.as_ref().map_or(&boot.commit, |taken| &taken.commit);
        let slice = slice_of(&paths, &boot.commit, commit);
        let read = documents::read_slice(&slice, commit, &boot.name)?;
        let HostSlice {
            fleet, host, files, ..
        } = read;
        Ok(Self {
            paths,
            uri,
            fleet: fleet.name.clone(),
            wanted: fleet,
            host,
            commit: commit.clone(),
            slice,
            files,
            stamp,
            release: boot.release_line(),
            identity: boot.release,
            verified: boot.verified,
            root: boot.root,
            slot: boot.slot,
            config: boot.config,
            warnings: Vec::new(),
            problems: taken
                .as_ref()
                .map_or(boot.problems, |taken| taken.problems.clone()),
            booted_by: boot.statement.id.clone(),
            statement: taken
                .as_ref()
                .and_then(|taken| taken.statement.clone())
                .unwrap_or(boot.statement),
            taken,
            booted: boot.commit,
            record,
        })
    }

    /// The same host at another commit, of which its part lies in `slice`.
    ///
    /// # Errors
    /// It cannot be read, does not pass `domus check`, or is another fleet's.
    pub(crate) fn at(&self, commit: &str, slice: &Path) -> Result<Self> {
        let HostSlice {
            fleet,
            host,
            files,
            warnings,
        } = documents::read_slice(slice, commit, &self.host.name)?;
        if fleet.name != self.fleet {
            let (other, own) = (&fleet.name, &self.fleet);
            bail!("the commit {commit} is of the fleet {other}, this host of {own}");
        }
        Ok(Self {
            wanted: fleet,
            host,
            commit: commit.to_owned(),
            slice: slice.to_owned(),
            files,
            warnings,
            ..self.clone()
        })
    }

    /// The same host at a commit that it runs something of.
    ///
    /// # Errors
    /// As [`Context::at`].
    pub(crate) fn at_known(&self, commit: &str) -> Result<Self> {
        self.at(commit, &slice_of(&self.paths, &self.booted, commit))
    }

    /// What is compared with other commits.
    pub(crate) fn side(&self) -> Side<'_> {
        Side {
            fleet: &self.wanted,
            host: Some(&self.host),
            names: self.files.shared.id_of("global/hosts"),
            elsewhere: &NOWHERE_ELSE,
        }
    }

    /// The repository on the config partition, for who changes it: nobody else does meanwhile, and
    /// what somebody who was cut off left behind is cleared away.
    ///
    /// # Errors
    /// It is damaged, or the disk is read-only.
    pub(crate) fn repository(&self) -> Result<(Lock, Repo)> {
        if let Some(seed) = self.seed() {
            bail!(
                "/config is the read-only seed {seed}, so no generation can be kept: a partition \
                 for it is `config` in [storage] of host.toml, or make a new seed"
            );
        }
        let lock = Lock::of(&self.paths.repo_lock(), "that changes the repository")?;
        let repo = Repo::open(&self.paths.repo())?;
        repo.clear_leftovers()?;
        Ok((lock, repo))
    }

    /// The device of the seed that `/config` is, if it is one.
    pub(crate) fn seed(&self) -> Option<&str> {
        let config = self.config.as_ref();
        let seed = config.filter(|config| config.kind == ConfigKind::Seed)?;
        Some(&seed.device)
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

/// Inodes and times of records, which are never written in place.
pub(crate) type Stamp = [Option<(u64, i64, i64)>; 2];

fn stamp(paths: &Paths) -> Stamp {
    let of = |path: PathBuf| {
        let data = path.metadata().ok()?;
        Some((data.ino(), data.mtime(), data.mtime_nsec()))
    };
    [of(paths.boot_record()), of(paths.taken())]
}

/// Where a host's part of `commit` lies in RAM.
pub(crate) fn slice_of(paths: &Paths, booted: &str, commit: &str) -> PathBuf {
    match commit == booted {
        true => paths.booted_slice(),
        false => paths.commits().join(commit),
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
