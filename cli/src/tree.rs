// SPDX-License-Identifier: GPL-3.0-or-later
//! A fleet's documents, read host by host: those of a work tree or of a commit. A large fleet is
//! proved by several threads and never in memory as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use domus_model::diagnostic::Diagnostic;
use domus_model::files::{Documents, Files};
use domus_model::fleet::Fleet;
use domus_model::load::{Counts, Frame, Moved, Proof, Scope};
use domus_model::status::short;
use domus_repo::{CommitDocuments, Repo};
use domus_system::documents;

use crate::opened;

/// How many hosts a thread takes at a time: neighbours, as git packs them close to each other.
const SHARE: usize = 64;

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
        let has = |host: &String| reader.has(&format!("pservers/{host}/domUs/{domu}.toml"));
        Ok(reader.hosts()?.into_iter().find(has))
    }

    /// Proves the fleet.
    ///
    /// # Errors
    /// Its documents cannot be read.
    pub(crate) fn prove(&self) -> Result<Proved> {
        let reader = self.reader()?;
        let shared = reader.shared()?;
        let frame = Frame::read(&shared);
        let hosts = reader.hosts()?;
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(hosts.len().div_ceil(SHARE)).max(1);
        let readers = (1..threads).map(|_| reader.again());
        let readers = readers.collect::<Result<Vec<Reader>>>()?;
        let proofs = thread::scope(|scope| {
            let (frame, hosts, next) = (&frame, &hosts, &next);
            let spawn = |reader: Reader| scope.spawn(move || reader.prove(frame, hosts, next));
            let others: Vec<_> = readers.into_iter().map(spawn).collect();
            let mut proofs = vec![reader.prove(frame, hosts, next)];
            for other in others {
                let proof = other.join();
                proofs.push(proof.unwrap_or_else(|_| Err(anyhow!("a thread of the proof died"))));
            }
            proofs
        });
        let mut whole = Proof::new(&frame);
        for proof in proofs {
            whole.join(proof?);
        }
        let (vservers, moved) = (&reader.vservers()?, &self.moved(&reader)?);
        let (diagnostics, counts) = whole.finish(Scope::Fleet { vservers, moved });
        let has_errors = opened::has_errors(&diagnostics);
        Ok(Proved {
            fleet: frame.fleet().filter(|_| !has_errors),
            files: reader.concerned(shared.clone(), &diagnostics)?,
            diagnostics,
            counts,
        })
    }

    /// The domUs that are on another host than they were: before the commit, or in the last one.
    fn moved(&self, reader: &Reader) -> Result<Vec<Moved>> {
        let Some(before) = self.before() else {
            return Ok(Vec::new());
        };
        let before = before.reader()?;
        let (mut gone, mut come) = (BTreeMap::new(), BTreeMap::new());
        let hosts: BTreeSet<String> = before.hosts()?.into_iter().chain(reader.hosts()?).collect();
        for host in hosts.iter().filter(|host| !reader.has_same(&before, host)) {
            let [was, is] = [before.domus(host)?, reader.domus(host)?];
            gone.extend(was.difference(&is).map(|domu| (domu.clone(), host)));
            come.extend(is.difference(&was).map(|domu| (domu.clone(), host)));
        }
        let mut moved = Vec::new();
        for (domu, from) in gone {
            if let Some(to) = come.get(&domu) {
                moved.push(Moved {
                    volumes: before.volumes(from, &domu)?,
                    from: from.clone(),
                    to: (*to).clone(),
                    domu,
                });
            }
        }
        Ok(moved)
    }

    /// What this one is compared with: the last commit, or the one before it; `None` if git has
    /// nothing.
    fn before(&self) -> Option<Self> {
        let (repo, id) = match self {
            Self::Work(root) => {
                let repo = Repo::open(root).ok()?;
                let id = repo.commit("HEAD").ok()?.id;
                (repo, id)
            }
            Self::Commit { repo, id } => {
                let repo = Repo::discover(repo).ok()?;
                let id = repo.parent(id).ok()??;
                (repo, id)
            }
        };
        let repo = repo.path().to_owned();
        Some(Self::Commit { repo, id })
    }

    fn reader(&self) -> Result<Reader> {
        Ok(match self {
            Self::Work(root) => Reader::Work(root.clone()),
            Self::Commit { repo, id } => {
                Reader::Commit(Box::new(Repo::discover(repo)?.into_documents(id)?))
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

    /// One thread's part of the proof: takes shares of the hosts until all are taken.
    fn prove<'f>(
        &self,
        frame: &'f Frame<'f>,
        hosts: &[String],
        next: &AtomicUsize,
    ) -> Result<Proof<'f>> {
        let mut proof = Proof::new(frame);
        loop {
            let start = next.fetch_add(SHARE, Ordering::Relaxed);
            let Some(rest) = hosts.get(start..).filter(|rest| !rest.is_empty()) else {
                return Ok(proof);
            };
            for host in &rest[..rest.len().min(SHARE)] {
                let documents = self.host(host)?;
                if documents.is_empty() {
                    continue;
                }
                proof.add(host, &documents, &self.vservers_of(&documents)?);
            }
        }
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

    /// Whether git knows that a host's directory is the same there.
    fn has_same(&self, other: &Self, host: &str) -> bool {
        match (self, other) {
            (Self::Commit(own), Self::Commit(other)) => own.host_id(host) == other.host_id(host),
            _ => false,
        }
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

    /// Whether there is a file at `path`.
    fn has(&self, path: &str) -> bool {
        match self {
            Self::Work(root) => root.join(path).is_file(),
            Self::Commit(commit) => commit.has(path),
        }
    }

    fn vservers(&self) -> Result<Vec<String>> {
        match self {
            Self::Work(root) => documents::list_vservers(root),
            Self::Commit(commit) => commit.vservers(),
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
            Self::Commit(commit) => commit.hosts(),
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
