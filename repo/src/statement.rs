// SPDX-License-Identifier: GPL-3.0-or-later
//! What a ref of a host names: a commit of the fleet, or a target, which names one. A target is a
//! commit of its own: `target.toml` and the newest `trust.toml` are all that its tree has, and the
//! target before it and the commit that it names are its parents.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use domus_model::trust::{self, Chain, Target};
use git2::{ErrorCode, ObjectType, Oid, Tree};

use crate::{Commit, Repo};

/// Where targets are kept, in the repository of the fleet and on the way to hosts.
pub const TARGETS_REF: &str = "refs/domus/targets";

/// A commit that hosts run, and the target that says so, if it is one that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The git commit that says it: the target's own, or the commit itself.
    pub id: String,
    /// The commit that hosts run.
    pub commit: Commit,
    /// The target.
    pub target: Option<Target>,
}

impl Repo {
    /// The statement that a ref names, or that has this id.
    ///
    /// # Errors
    /// There is none, or it is a target that says nothing that can be understood.
    pub fn statement(&self, name: &str) -> Result<Statement> {
        let doing = || format!("reading {name} in {}", self.path().display());
        let id = Oid::from_str(name).or_else(|_| self.git.refname_to_id(name));
        let id = id.with_context(doing)?.to_string();
        let commit = self.bounded_commit(&id).with_context(doing)?;
        let tree = self.tree(&id)?;
        let Some(text) = self.file(&tree, Target::PATH, Target::LONGEST)? else {
            let target = None;
            return Ok(Statement { id, commit, target });
        };
        let target = Target::parse(&text)
            .map_err(|why| anyhow!("the {} in it {why}", Target::PATH))
            .with_context(doing)?;
        let names = tree.iter();
        let stranger = names
            .filter_map(|entry| entry.name().ok().map(str::to_owned))
            .find(|name| !PARTS.contains(&name.as_str()));
        if let Some(name) = stranger {
            let path = Target::PATH;
            return Err(anyhow!("it has a {path} and {name}, which no target has").context(doing()));
        }
        let oid = Oid::from_str(&target.commit).with_context(doing)?;
        let own = self
            .git
            .find_commit(Oid::from_str(&id)?)
            .with_context(doing)?;
        ensure!(
            own.parent_ids().any(|parent| parent == oid),
            "{}: it names the commit {oid}, which is not among its parents",
            doing()
        );
        let commit = self.bounded_commit(&target.commit)?;
        let target = Some(target);
        Ok(Statement { id, commit, target })
    }

    /// A commit, unless it is so large that somebody made it to fill the memory.
    fn bounded_commit(&self, id: &str) -> Result<Commit> {
        self.find_commit(Oid::from_str(id)?)?;
        self.commit(id)
    }

    /// The target before a target, if there is one.
    ///
    /// # Errors
    /// It is damaged.
    pub fn target_before(&self, statement: &Statement) -> Result<Option<Statement>> {
        let own = self.git.find_commit(Oid::from_str(&statement.id)?)?;
        let mut parents = own.parent_ids().map(|id| id.to_string());
        let before = parents.find(|id| *id != statement.commit.id);
        match (&statement.target, before) {
            (Some(_), Some(id)) => self.statement(&id).map(Some),
            _ => Ok(None),
        }
    }

    /// The `trust.toml` that a commit carries, with those before it.
    ///
    /// # Errors
    /// Objects are missing, or it cannot be read.
    pub fn chain(&self, commit: &str) -> Result<Option<Chain>> {
        let tree = self.tree(commit)?;
        let earlier = match tree.get_name(trust::EARLIER) {
            Some(entry) if entry.kind() == Some(ObjectType::Tree) => {
                let earlier = self.find_tree(entry.id())?;
                let names = earlier.iter();
                names
                    .filter_map(|entry| entry.name().ok().map(str::to_owned))
                    .collect()
            }
            _ => Vec::new(),
        };
        let read = |path: &str| {
            let content = self.file(&tree, path, LONGEST_TRUST);
            content.map_err(|error| format!("{error:#}"))
        };
        Chain::read(earlier.iter().map(String::as_str), read)
            .map_err(|why| anyhow!("the trust of {commit}: {why}"))
    }

    /// The signature of a commit and what was signed; none if nobody signed it.
    pub(crate) fn signature(&self, commit: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let doing = || format!("reading the signature of {commit}");
        let id = Oid::from_str(commit).with_context(doing)?;
        match self.git.extract_signature(&id, None) {
            Ok((signature, signed)) => Ok(Some((signature.to_vec(), signed.to_vec()))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error).with_context(doing),
        }
    }

    /// The content of a file in a tree, if it is there.
    fn file(&self, tree: &Tree<'_>, path: &str, longest: usize) -> Result<Option<Vec<u8>>> {
        let doing = || format!("reading {path}");
        let entry = match tree.get_path(Path::new(path)) {
            Ok(entry) => entry,
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(doing),
        };
        let (size, kind) = self.size(entry.id()).with_context(doing)?;
        ensure!(kind == ObjectType::Blob, "{}: it is no file", doing());
        ensure!(size <= longest, "{}: it is too long", doing());
        let blob = self.git.find_blob(entry.id()).with_context(doing)?;
        Ok(Some(blob.content().to_vec()))
    }
}

/// What the tree of a target may have.
pub(crate) const PARTS: [&str; 4] = [
    Target::PATH,
    trust::DOCUMENT,
    trust::SIGNATURES,
    trust::EARLIER,
];
/// The longest file of those that say who may sign, in bytes.
const LONGEST_TRUST: usize = 64 << 10;
