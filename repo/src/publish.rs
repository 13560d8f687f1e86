// SPDX-License-Identifier: GPL-3.0-or-later
//! Making a target: a commit of its own after the target before it.

use anyhow::{Context, Result};
use domus_model::trust::{Chain, EARLIER, Target};
use git2::{ErrorCode, Oid, Signature, Tree};

use crate::{Repo, TARGETS_REF};

/// A target to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewTarget<'t> {
    /// What it says.
    pub target: &'t Target,
    /// The newest `trust.toml` and those before it, where somebody has to sign.
    pub chain: Option<&'t Chain>,
    /// The target before it, as the repository has it.
    pub before: Option<&'t str>,
}

/// Signs what it is given, and gives the signature.
pub type Sign<'s> = &'s dyn Fn(&[u8]) -> Result<String>;

impl Repo {
    /// Makes a target, signed if there is somebody who signs, and points [`TARGETS_REF`] at it.
    ///
    /// # Errors
    /// It cannot be signed, somebody else made one meanwhile, or the disk is full.
    pub fn add_target(&self, new: &NewTarget<'_>, sign: Option<Sign<'_>>) -> Result<String> {
        let target = new.target;
        let doing = || format!("making the target {}", target.serial);
        let tree = self.target_tree(new).with_context(doing)?;
        let mut parents = Vec::new();
        for id in new.before.into_iter().chain([target.commit.as_str()]) {
            let id = Oid::from_str(id).with_context(doing)?;
            parents.push(self.git.find_commit(id).with_context(doing)?);
        }
        let author = self
            .git
            .signature()
            .or_else(|_| Signature::now("domus", "domus@localhost"))
            .with_context(doing)?;
        let hosts: Vec<String> = target.hosts.iter().map(ToString::to_string).collect();
        let message = format!(
            "target {}: {} -> {}\n",
            target.serial,
            hosts.join(","),
            domus_model::status::short(&target.commit)
        );
        let parents: Vec<_> = parents.iter().collect();
        let id = match sign {
            None => self
                .git
                .commit(None, &author, &author, &message, &tree, &parents),
            Some(sign) => {
                let buffer = self
                    .git
                    .commit_create_buffer(&author, &author, &message, &tree, &parents)
                    .with_context(doing)?;
                let signature = sign(&buffer).with_context(doing)?;
                let text = std::str::from_utf8(&buffer).with_context(doing)?;
                self.git.commit_signed(text, signature.trim_end(), None)
            }
        };
        let id = id.with_context(doing)?;
        self.move_targets(new.before, Some(&id.to_string()))
            .with_context(doing)?;
        Ok(id.to_string())
    }

    /// Moves [`TARGETS_REF`] if it is still what it was; to nothing: takes it away.
    ///
    /// # Errors
    /// Somebody else moved it meanwhile, or the disk is full.
    pub fn move_targets(&self, from: Option<&str>, to: Option<&str>) -> Result<()> {
        let log = "domus: published";
        match (from, to) {
            (Some(from), Some(to)) => {
                let (from, to) = (Oid::from_str(from)?, Oid::from_str(to)?);
                self.git
                    .reference_matching(TARGETS_REF, to, true, from, log)?;
            }
            (None, Some(to)) => {
                let to = Oid::from_str(to)?;
                self.git.reference(TARGETS_REF, to, false, log)?;
            }
            (_, None) => self.git.find_reference(TARGETS_REF)?.delete()?,
        }
        Ok(())
    }

    /// What [`TARGETS_REF`] names, if there are targets.
    ///
    /// # Errors
    /// The repository is damaged.
    pub fn targets(&self) -> Result<Option<String>> {
        match self.git.refname_to_id(TARGETS_REF) {
            Ok(id) => Ok(Some(id.to_string())),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {TARGETS_REF}")),
        }
    }

    fn target_tree(&self, new: &NewTarget<'_>) -> Result<Tree<'_>> {
        const FILE: i32 = 0o100_644;
        const DIRECTORY: i32 = 0o040_000;
        let mut root = self.git.treebuilder(None)?;
        let mut earlier = self.git.treebuilder(None)?;
        let text = new.target.render();
        root.insert(Target::PATH, self.git.blob(text.as_bytes())?, FILE)?;
        for (path, content) in new.chain.into_iter().flat_map(Chain::files) {
            let blob = self.git.blob(content)?;
            match path
                .strip_prefix(EARLIER)
                .and_then(|it| it.strip_prefix('/'))
            {
                Some(name) => earlier.insert(name, blob, FILE)?,
                None => root.insert(&path, blob, FILE)?,
            };
        }
        if !earlier.is_empty() {
            root.insert(EARLIER, earlier.write()?, DIRECTORY)?;
        }
        Ok(self.git.find_tree(root.write()?)?)
    }
}
