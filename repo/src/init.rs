// SPDX-License-Identifier: GPL-3.0-or-later
//! A new repository with a first commit.

use std::path::Path;

use anyhow::{Context, Result};
use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};

/// Makes `dir` a git repository on branch `main`, adds everything that `.gitignore` does not
/// exclude, commits it with `message` and returns the commit's id.
///
/// # Errors
/// git refuses, or a file cannot be read.
pub fn init_with_commit(dir: &Path, message: &str) -> Result<String> {
    let doing = || format!("making a git repository in {}", dir.display());
    let mut options = RepositoryInitOptions::new();
    options.initial_head("main").no_reinit(true);
    let git = Repository::init_opts(dir, &options).with_context(doing)?;
    let mut index = git.index().with_context(doing)?;
    index
        .add_all(["*"], IndexAddOption::DEFAULT, None)
        .with_context(doing)?;
    index.write().with_context(doing)?;
    let tree = git
        .find_tree(index.write_tree().with_context(doing)?)
        .with_context(doing)?;
    // An operator without a git identity yet can amend this commit later.
    let author = git
        .signature()
        .or_else(|_| Signature::now("domus", "domus@localhost"))
        .with_context(doing)?;
    let id = git
        .commit(Some("HEAD"), &author, &author, message, &tree, &[])
        .with_context(doing)?;
    Ok(id.to_string())
}
