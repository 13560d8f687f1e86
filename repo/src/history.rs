// SPDX-License-Identifier: GPL-3.0-or-later
//! Who changed a file last.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use domus_model::date::day;
use domus_model::explain::Changed;
use domus_model::status::short;
use git2::{Commit, ErrorCode, ObjectType, Oid, Sort};
use serde::Serialize;

use crate::Repo;

/// A change of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The commit.
    pub commit: String,
    /// Who wrote it, `NAME <ADDRESS>`.
    pub author: String,
    /// When, in seconds since 1970, as the author's clock had it.
    pub seconds: i64,
    /// The first line of its message.
    pub summary: String,
}

impl Change {
    /// For a table: the author without the address, the day without the time.
    pub fn shown(&self) -> Changed {
        let author = self.author.split(" <").next().unwrap_or_default();
        Changed {
            commit: short(&self.commit).to_owned(),
            day: day(self.seconds),
            author: author.to_owned(),
        }
    }
}

impl Repo {
    /// Whether the file `here` is as `commit` has it at `path`.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn has_file(&self, commit: &str, path: &str, here: &Path) -> Result<bool> {
        let Ok(entry) = self.tree(commit)?.get_path(Path::new(path)) else {
            return Ok(false);
        };
        let id = match here.read_link() {
            Ok(target) => Oid::hash_object(ObjectType::Blob, target.as_os_str().as_bytes()),
            Err(_) => Oid::hash_file(ObjectType::Blob, here),
        };
        Ok(id.is_ok_and(|id| id == entry.id()))
    }

    /// The last change of the file at `path`, as seen from `commit`; `None` if it is not there.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn last_change(&self, commit: &str, path: &str) -> Result<Option<Change>> {
        let doing = || format!("looking who changed {path} last");
        let blob = |commit: &Commit<'_>| -> Result<Option<Oid>> {
            match commit.tree()?.get_path(Path::new(path)) {
                Ok(entry) => Ok(Some(entry.id())),
                Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        let mut walk = self.git.revwalk().with_context(doing)?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)
            .with_context(doing)?;
        walk.push(Oid::from_str(commit).with_context(doing)?)
            .with_context(doing)?;
        let mut wanted = None;
        for id in walk {
            let commit = self
                .git
                .find_commit(id.with_context(doing)?)
                .with_context(doing)?;
            let here = blob(&commit).with_context(doing)?;
            // The first one walked is the commit itself.
            let wanted = wanted.get_or_insert(here);
            if wanted.is_none() {
                return Ok(None);
            }
            let mut from_parents = commit.parents().map(|parent| blob(&parent));
            let came =
                from_parents.try_fold(false, |came, parent| anyhow::Ok(came || parent? == *wanted));
            if here == *wanted && !came.with_context(doing)? {
                let author = commit.author();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (name, email) = (text(author.name_bytes()), text(author.email_bytes()));
                return Ok(Some(Change {
                    commit: commit.id().to_string(),
                    author: format!("{name} <{email}>"),
                    seconds: author.when().seconds(),
                    summary: commit.summary_bytes().map(text).unwrap_or_default(),
                }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::{Repository, Signature, Time};

    #[test]
    fn the_commit_that_brought_a_content_is_found() {
        let dir = tempfile::tempdir().expect("dir");
        let git = Repository::init(dir.path()).expect("init");
        let commit = |name: &str, files: &[(&str, &str)], parents: &[Oid], at: i64| {
            let mut tree = git.treebuilder(None).expect("tree");
            for (path, text) in files {
                let blob = git.blob(text.as_bytes()).expect("blob");
                tree.insert(path, blob, 0o100_644).expect("entry");
            }
            let tree = git.find_tree(tree.write().expect("written")).expect("tree");
            let who = Signature::new(name, "x@example.net", &Time::new(at, 0)).expect("who");
            let parents: Vec<Commit<'_>> = parents
                .iter()
                .map(|id| git.find_commit(*id).expect("parent"))
                .collect();
            let parents: Vec<&Commit<'_>> = parents.iter().collect();
            git.commit(
                None,
                &who,
                &who,
                &format!("{name}'s\n\nmore"),
                &tree,
                &parents,
            )
            .expect("commit")
        };
        let first = commit("ann", &[("motd", "1"), ("x", "1")], &[], 1);
        let second = commit("bob", &[("motd", "2"), ("x", "1")], &[first], 2);
        let side = commit("eve", &[("motd", "1"), ("x", "2")], &[first], 9);
        let merge = commit("zoe", &[("motd", "2"), ("x", "2")], &[second, side], 10);
        let back = commit("ann", &[("motd", "1"), ("x", "2")], &[merge], 11);
        let repo = Repo::open(dir.path()).expect("open");
        let who = |commit: Oid, path: &str| {
            let change = repo.last_change(&commit.to_string(), path).expect("walked");
            change.map(|change| (change.summary, change.seconds))
        };
        assert_eq!(who(merge, "motd"), Some(("bob's".to_owned(), 2)));
        assert_eq!(who(merge, "x"), Some(("eve's".to_owned(), 9)));
        assert_eq!(who(back, "motd"), Some(("ann's".to_owned(), 11)));
        assert_eq!(who(first, "x"), Some(("ann's".to_owned(), 1)));
        assert_eq!(who(back, "nowhere"), None);
    }
}
