// SPDX-License-Identifier: GPL-3.0-or-later
//! Opening a repository and reading one commit of it.

use std::cell::RefCell;
use std::ffi::c_int;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use domus_model::files::Files;
use git2::{ObjectType, Oid, Repository, Tree};
use libgit2_sys::{GIT_OPT_ENABLE_FSYNC_GITDIR, git_libgit2_opts};
use serde::Serialize;

use crate::CommitDocuments;
use crate::objects::Objects;
use crate::packs::Packs;
use crate::tree::Id;

/// git's mode of a symbolic link.
pub(crate) const LINK: i32 = 0o120_000;
/// git's mode of a file that may be run.
pub(crate) const PROGRAM: i32 = 0o100_755;

/// The largest tree that is read, in bytes: more than a million names.
pub(crate) const LARGEST_TREE: usize = 64 << 20;

/// The largest commit or tag that is read, in bytes.
pub(crate) const LARGEST_COMMIT: usize = 1 << 20;

/// The largest object that others may be differences to, in bytes: a tree may be one.
pub(crate) const LARGEST_BASE: usize = LARGEST_TREE;

/// How a server is told to send large files as they are.
pub(crate) const SEND_WHOLE: &str = "`git config core.bigFileThreshold 32m` and then \
     `git repack -adF`, in the repository that it came from, keep large files as they are";

/// An open repository, bare or not.
pub struct Repo {
    pub(crate) git: Repository,
    path: PathBuf,
    /// Its packs, once somebody asked how large an object is.
    packs: RefCell<Option<Packs>>,
}

/// A commit of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its id, 40 hexadecimal digits.
    #[serde(rename = "commit")]
    pub id: String,
    /// The first line of its message.
    pub summary: String,
}

impl Repo {
    /// Opens the repository at `path`: a bare one, or a work tree's root.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        // A config partition belongs to whoever wrote it; what is on it is judged by its
        // content, never by the owner of its files.
        prepare()?;
        let git = Repository::open(path)
            .with_context(|| format!("opening the git repository {}", path.display()))?;
        Ok(Self::of(git, path.to_owned()))
    }

    fn of(git: Repository, path: PathBuf) -> Self {
        let packs = RefCell::new(None);
        Self { git, path, packs }
    }

    /// The commit that `revision` names: a ref, a branch, an id.
    ///
    /// # Errors
    /// It names none.
    pub fn commit(&self, revision: &str) -> Result<Commit> {
        let doing = || format!("finding the commit {revision} in {}", self.path.display());
        let object = self.git.revparse_single(revision).with_context(doing)?;
        let commit = object.peel_to_commit().with_context(doing)?;
        let summary = commit
            .summary()
            .ok()
            .flatten()
            .unwrap_or_default()
            .to_owned();
        Ok(Commit {
            id: commit.id().to_string(),
            summary,
        })
    }

    /// The first parent of a commit, if it has one.
    ///
    /// # Errors
    /// It is not there.
    pub fn parent(&self, commit: &str) -> Result<Option<String>> {
        let doing = || format!("reading the commit {commit} in {}", self.path.display());
        let id = Oid::from_str(commit).with_context(doing)?;
        let commit = self.git.find_commit(id).with_context(doing)?;
        Ok(commit.parent_id(0).ok().map(|id| id.to_string()))
    }

    /// Whether files that git tracks, or new ones that it does not ignore, differ from `HEAD`.
    ///
    /// # Errors
    /// The work tree cannot be read.
    pub fn is_dirty(&self) -> Result<bool> {
        let mut options = git2::StatusOptions::new();
        options.include_untracked(true).include_ignored(false);
        let statuses = self
            .git
            .statuses(Some(&mut options))
            .context("asking git for its status")?;
        Ok(!statuses.is_empty())
    }

    /// Those of `paths` in the work tree that are not as `HEAD` has them.
    ///
    /// # Errors
    /// One is neither here nor there, or the work tree cannot be read.
    pub fn uncommitted<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<Vec<&'p str>> {
        let mut changed = Vec::new();
        for path in paths {
            let status = self.git.status_file(Path::new(path));
            let status = status.with_context(|| format!("asking git for the status of {path}"))?;
            if status != git2::Status::CURRENT {
                changed.push(path);
            }
        }
        Ok(changed)
    }

    /// The repository that `dir` belongs to: it or a directory above is a work tree or bare. In a
    /// hook of git's, which sets aside what it receives until the hook agrees, that is there, too.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn discover(dir: &Path) -> Result<Self> {
        prepare()?;
        let is_hook = std::env::var_os("GIT_QUARANTINE_PATH").is_some();
        let git = match is_hook {
            true => Repository::open_from_env(),
            false => Repository::discover(dir),
        };
        let looking = || format!("looking for a git repository in {}", dir.display());
        let git = git.with_context(looking)?;
        let path = git.path().to_owned();
        Ok(Self::of(git, path))
    }

    /// The SSH key that git signs with, if its configuration names a file of one.
    pub fn signing_key(&self) -> Option<PathBuf> {
        let config = self.git.config().ok()?;
        if config.get_string("gpg.format").ok()? != "ssh" {
            return None;
        }
        let key = config.get_path("user.signingkey").ok()?;
        key.is_file().then_some(key)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where what belongs to all its work trees is.
    pub fn common_path(&self) -> &Path {
        self.git.commondir()
    }

    /// All documents of a commit.
    ///
    /// # Errors
    /// Its objects are damaged.
    pub fn documents(self, commit: &str) -> Result<Files> {
        let documents = self.into_documents(commit)?;
        let mut files = Files::new();
        files.shared = documents.shared()?;
        for host in documents.hosts()?.names() {
            let of_host = documents.host(host)?;
            if !of_host.is_empty() {
                files.hosts.insert(host.to_owned(), of_host);
            }
        }
        for domu in documents.vservers()?.names() {
            let of_domu = documents.vserver(domu)?;
            files.vservers.insert(domu.to_owned(), of_domu);
        }
        Ok(files)
    }

    /// The documents of a commit, to be read host by host. Its objects are compared with their
    /// names.
    ///
    /// # Errors
    /// Its objects are damaged.
    fn into_documents(self, commit: &str) -> Result<CommitDocuments> {
        CommitDocuments::new(Objects::compared(self), commit)
    }

    /// The same for who reads each once and shows what he found: from now on and in the whole
    /// program objects are not compared with their names. git does not either; what a disk breaks,
    /// zlib's checksums find, and what a transfer breaks, git when it receives it. Whoever boots
    /// from a repository or carries it elsewhere compares.
    ///
    /// # Errors
    /// Its objects are damaged.
    pub fn read_once(self, commit: &str) -> Result<CommitDocuments> {
        CommitDocuments::new(Objects::trusted(self), commit)
    }

    /// What git calls the root of a commit.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn root(&self, commit: &str) -> Result<Id> {
        let doing = || format!("reading the commit {commit} in {}", self.path.display());
        let id = Oid::from_str(commit).with_context(doing)?;
        let commit = self.git.find_commit(id).with_context(doing)?;
        let root = <Id>::try_from(commit.tree_id().as_bytes());
        root.with_context(doing)
    }

    pub(crate) fn tree(&self, commit: &str) -> Result<Tree<'_>> {
        let doing = || format!("reading the commit {commit} in {}", self.path.display());
        let id = Oid::from_str(commit).with_context(doing)?;
        let commit = self.git.find_commit(id).with_context(doing)?;
        self.find_tree(commit.tree_id()).with_context(doing)
    }

    /// A commit, unless it is so large that somebody made it to fill the memory.
    pub(crate) fn find_commit(&self, id: Oid) -> Result<git2::Commit<'_>> {
        let (size, _) = self.size(id)?;
        ensure!(
            size <= LARGEST_COMMIT,
            "the commit {id} has {size} bytes, and more than {LARGEST_COMMIT} are not read"
        );
        Ok(self.git.find_commit(id)?)
    }

    /// A tree, unless it is so large that somebody made it to fill the memory.
    pub(crate) fn find_tree(&self, id: Oid) -> Result<Tree<'_>> {
        let (size, _) = self.size(id)?;
        ensure!(
            size <= LARGEST_TREE,
            "the tree {id} has {size} bytes, and more than {LARGEST_TREE} are not read"
        );
        Ok(self.git.find_tree(id)?)
    }

    /// How many bytes an object has and what it is, for who then has libgit2 read it: that takes
    /// memory for what the object is a difference to, too, so what takes too much is refused here.
    ///
    /// # Errors
    /// It is missing, or a difference to something too large.
    pub(crate) fn size(&self, id: Oid) -> Result<(usize, ObjectType)> {
        let header = self.git.odb()?.read_header(id)?;
        let below = self.most_below(&Id::try_from(id.as_bytes())?);
        ensure!(
            below <= LARGEST_BASE,
            "the object {id} is stored as a difference to one of {below} bytes, and more than \
             {LARGEST_BASE} are not unpacked for that: {SEND_WHOLE}"
        );
        Ok(header)
    }

    fn most_below(&self, id: &Id) -> usize {
        let objects = self.common_path().join("objects");
        let mut kept = self.packs.borrow_mut();
        let packs = kept.get_or_insert_with(|| Packs::open(&objects));
        if !packs.has(id) {
            let hex = hex(id);
            if objects.join(&hex[..2]).join(&hex[2..]).exists() {
                return 0;
            }
            // It came with a pack that was not there yet.
            *packs = Packs::open(&objects);
        }
        packs.most_below(id)
    }
}

pub(crate) fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// libgit2 refuses repositories of other users unless told not to; and syncs neither packs nor
/// refs: `core.fsyncObjectFiles` is for loose objects and refs only, and a ref that outlasts a
/// power cut would name objects that do not.
#[allow(unsafe_code)]
pub(crate) fn prepare() -> Result<()> {
    // SAFETY: sets two global flags of libgit2, only ever to these values; the first call begins
    // with libgit2's own preparation. The second takes one int, as git2/common.h says.
    let code = unsafe {
        git2::opts::set_verify_owner_validation(false)
            .map_err(|error| anyhow!("preparing libgit2: {error}"))?;
        git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR as c_int, 1 as c_int)
    };
    ensure!(
        code == 0,
        "preparing libgit2: it cannot sync what it writes"
    );
    Ok(())
}
