// SPDX-License-Identifier: GPL-3.0-or-later
//! A fleet's documents, read host by host: those of a work tree or of a commit.

mod prove;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::diagnostic::Diagnostic;
use domus_model::files::{Documents, Files};
use domus_model::fleet::Fleet;
use domus_model::load::{Counts, Frame, Proof};
use domus_model::status::short;
use domus_repo::{CommitDocuments, Directories, Repo};
use domus_system::documents;

use crate::opened;

/// Where the documents of a fleet are.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    /// In files, below this directory.
    Work(PathBuf),
    /// In a commit of this repository.
    Commit {
        /// The repository, bare or not.
        repo: PathBuf,
        /// The commit's id.
        id: String,
    },
}

/// An open [`Tree`]: one thread's.
enum Reader {
    Work(PathBuf),
    Commit(Box<CommitDocuments>),
}

/// Which fleet a command looks at.
#[derive(Debug, clap::Args)]
pub(crate) struct Where {
    /// A commit to look at; without it, the files as they are
    #[arg(long, value_name = "REV")]
    at: Option<String>,
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".")]
    dir: PathBuf,
}

impl Where {
    /// Finds it.
    ///
    /// # Errors
    /// There is no fleet, or no such commit.
    pub(crate) fn find(&self) -> Result<Tree> {
        Tree::find(&self.dir, self.at.as_deref())
    }
}

/// What was found out about a fleet.
#[derive(Debug)]
pub(crate) struct Proved {
    /// The fleet, hosts left out, if there is no error.
    pub(crate) fleet: Option<Fleet>,
    /// All problems.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// How many there are of what.
    pub(crate) counts: Counts,
    /// The documents that the problems are in.
    pub(crate) files: Files,
}

impl Tree {
    /// What people call it: a commit by its first digits.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Work(_) => "the files as they are",
            Self::Commit { id, .. } => short(id),
        }
    }

    /// The work tree that `dir` belongs to, or the commit that `at` names in its repository.
    ///
    /// # Errors
    /// There is no fleet, or no such commit.
    pub(crate) fn find(dir: &Path, at: Option<&str>) -> Result<Self> {
        let Some(revision) = at else {
            return opened::find(dir).map(Self::Work);
        };
        let repo = Repo::discover(dir)?;
        let id = repo.commit(revision)?.id;
        let repo = repo.path().to_owned();
        Ok(Self::Commit { repo, id })
    }

    /// The documents that concern one host: its own, its domUs', and what all hosts share.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn slice(&self, host: &str) -> Result<Files> {
        let reader = self.reader()?;
        let mut files = Files::new();
        files.shared = reader.shared()?;
        let documents = reader.host(host)?;
        if !documents.is_empty() {
            files.vservers = reader.vservers_of(&documents)?;
            files.hosts.insert(host.to_owned(), documents);
        }
        Ok(files)
    }

    /// The host that has a domU of that name: by its document, be that right or wrong.
    ///
    /// # Errors
    /// The fleet cannot be read.
    pub(crate) fn host_of(&self, domu: &str) -> Result<Option<String>> {
        let reader = self.reader()?;
        for host in reader.hosts()? {
            if reader.has_domu(&host, domu)? {
                return Ok(Some(host));
            }
        }
        Ok(None)
    }

    fn reader(&self) -> Result<Reader> {
        Ok(match self {
            Self::Work(root) => Reader::Work(root.clone()),
            Self::Commit { repo, id } => {
                Reader::Commit(Box::new(Repo::discover(repo)?.read_once(id)?))
            }
        })
    }
}

impl Reader {
    /// The same for another thread.
    fn again(&self) -> Result<Self> {
        Ok(match self {
            Self::Work(root) => Self::Work(root.clone()),
            Self::Commit(commit) => Self::Commit(Box::new(commit.again()?)),
        })
    }

    /// The documents of domUs' own directories, for the domUs of a host.
    fn vservers_of(&self, host: &Documents) -> Result<BTreeMap<String, Documents>> {
        let mut vservers = BTreeMap::new();
        for domu in host.domus() {
            let documents = self.vserver(domu)?;
            if !documents.is_empty() {
                vservers.insert(domu.to_owned(), documents);
            }
        }
        Ok(vservers)
    }

    /// The names of the domUs of a host.
    fn domus(&self, host: &str) -> Result<BTreeSet<String>> {
        Ok(match self {
            Self::Work(root) => documents::list_domus(root, host)?.into_iter().collect(),
            Self::Commit(commit) => commit.domus(host)?.into_iter().collect(),
        })
    }

    /// The volumes of a domU; none if its host has errors.
    fn volumes(&self, host: &str, domu: &str) -> Result<Vec<String>> {
        let shared = self.shared()?;
        let frame = Frame::read(&shared);
        let documents = self.host(host)?;
        let mut proof = Proof::new(&frame);
        let host = proof.host(host, &documents, &BTreeMap::new());
        let domu = host.as_ref().and_then(|host| host.domus.get(domu));
        let disks = domu.into_iter().flat_map(|domu| &domu.disks);
        let volumes = disks.filter_map(|disk| disk.backing.volume());
        Ok(volumes.map(str::to_owned).collect())
    }

    /// Whether a host has a document of a domU of that name.
    fn has_domu(&self, host: &str, domu: &str) -> Result<bool> {
        match self {
            Self::Work(root) => {
                let path = format!("pservers/{host}/domUs/{domu}.toml");
                Ok(root.join(path).is_file())
            }
            Self::Commit(commit) => commit.has_domu(host, domu),
        }
    }

    fn vservers(&self) -> Result<Vec<String>> {
        match self {
            Self::Work(root) => documents::list_vservers(root),
            Self::Commit(commit) => Ok(strings(commit.vservers()?)),
        }
    }

    fn vserver(&self, domu: &str) -> Result<Documents> {
        match self {
            Self::Work(root) => documents::read_vserver(root, domu),
            Self::Commit(commit) => commit.vserver(domu),
        }
        .with_context(|| format!("reading vservers/{domu}/"))
    }

    fn shared(&self) -> Result<Documents> {
        match self {
            Self::Work(root) => documents::read_shared(root),
            Self::Commit(commit) => commit.shared(),
        }
    }

    fn hosts(&self) -> Result<Vec<String>> {
        match self {
            Self::Work(root) => documents::list_hosts(root),
            Self::Commit(commit) => Ok(strings(commit.hosts()?)),
        }
    }

    fn host(&self, name: &str) -> Result<Documents> {
        match self {
            Self::Work(root) => documents::read_host(root, name),
            Self::Commit(commit) => commit.host(name),
        }
        .with_context(|| format!("reading the documents of {name}"))
    }

    /// The documents that these problems are in, and those that all hosts share.
    fn concerned(&self, shared: Documents, problems: &[Diagnostic]) -> Result<Files> {
        let mut files = Files::new();
        files.shared = shared;
        for label in problems.iter().flat_map(|problem| &problem.labels) {
            if let Some(host) = Files::host_of(&label.file)
                && !files.hosts.contains_key(host)
            {
                files.hosts.insert(host.to_owned(), self.host(host)?);
            }
            if let Some(domu) = Files::vserver_of(&label.file)
                && !files.vservers.contains_key(domu)
            {
                files.vservers.insert(domu.to_owned(), self.vserver(domu)?);
            }
        }
        Ok(files)
    }
}

fn strings(directories: &Directories) -> Vec<String> {
    directories.names().map(str::to_owned).collect()
}
