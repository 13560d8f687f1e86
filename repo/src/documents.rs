// SPDX-License-Identifier: GPL-3.0-or-later
//! The documents of a commit, host by host: a large fleet is never in memory as a whole.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use domus_model::load::{Documents, Files};
use git2::{ObjectType, Oid, Tree, TreeEntry};

use crate::Repo;
use crate::open::LINK;

/// The documents of one commit.
pub struct CommitDocuments {
    repo: Repo,
    /// The commit's own tree.
    root: Oid,
    /// The trees of hosts by the names of their directories.
    hosts: BTreeMap<String, Oid>,
}

impl CommitDocuments {
    pub(crate) fn new(repo: Repo, commit: &str) -> Result<Self> {
        let (root, hosts) = roots(&repo, commit)?;
        Ok(Self { repo, root, hosts })
    }

    /// The names of the directories of hosts, in order.
    pub fn hosts(&self) -> Vec<String> {
        self.hosts.keys().cloned().collect()
    }

    /// The documents that all hosts share.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn shared(&self) -> Result<Documents> {
        let mut documents = Documents::new();
        let root = self.tree(self.root, "the commit's tree")?;
        self.add(&root, "", &mut documents)?;
        self.add_below(
            &root,
            "",
            |name| ["global", "images"].contains(&name),
            &mut documents,
        )?;
        Ok(documents)
    }

    /// The documents of one host, which may be none.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn host(&self, name: &str) -> Result<Documents> {
        let mut documents = Documents::new();
        if let Some(id) = self.hosts.get(name) {
            let directory = format!("pservers/{name}/");
            let tree = self.tree(*id, &directory)?;
            self.add(&tree, &directory, &mut documents)?;
            // Other spellings are read too, so that `check` can say that they are wrong.
            let domus = |name: &str| name.eq_ignore_ascii_case("domUs");
            self.add_below(&tree, &directory, domus, &mut documents)?;
        }
        Ok(documents)
    }

    /// Adds the documents in those directories of `tree` that are `wanted`.
    fn add_below(
        &self,
        tree: &Tree<'_>,
        directory: &str,
        wanted: impl Fn(&str) -> bool,
        documents: &mut Documents,
    ) -> Result<()> {
        for entry in tree {
            let Ok(name) = entry.name() else { continue };
            if entry.kind() == Some(ObjectType::Tree) && wanted(name) {
                let below = format!("{directory}{name}/");
                self.add(&self.tree(entry.id(), &below)?, &below, documents)?;
            }
        }
        Ok(())
    }

    /// Adds the documents that are directly in `tree`, the directory of that path.
    fn add(&self, tree: &Tree<'_>, directory: &str, documents: &mut Documents) -> Result<()> {
        let odb = self.repo.git.odb().context("opening git's objects")?;
        for entry in tree {
            let path = format!("{directory}{}", String::from_utf8_lossy(entry.name_bytes()));
            if !Files::wants(&path) {
                continue;
            }
            let unreadable = match (entry.kind(), entry.filemode()) {
                _ if entry.name().is_err() => "has a name that is not UTF-8",
                (_, LINK) => "is a link, which git stores as a link",
                (Some(ObjectType::Blob), _) => "",
                _ => "is no plain file",
            };
            if !unreadable.is_empty() {
                documents.insert_unreadable(path, unreadable);
                continue;
            }
            let reading = || format!("reading {path}");
            let (size, _) = odb.read_header(entry.id()).with_context(reading)?;
            if size > Files::LONGEST {
                documents.insert(path, vec![b'#'; Files::LONGEST + 1]);
                continue;
            }
            let object = odb.read(entry.id()).with_context(reading)?;
            documents.insert(path, object.data().to_vec());
        }
        Ok(())
    }

    fn tree(&self, id: Oid, what: &str) -> Result<Tree<'_>> {
        let tree = self.repo.git.find_tree(id);
        tree.with_context(|| format!("reading {what}"))
    }
}

/// The tree of a commit, and those of its hosts.
fn roots(repo: &Repo, commit: &str) -> Result<(Oid, BTreeMap<String, Oid>)> {
    let root = repo.tree(commit)?;
    let hosts = match root.get_name("pservers") {
        Some(entry) if entry.kind() == Some(ObjectType::Tree) => {
            let hosts = repo.git.find_tree(entry.id());
            directories(&hosts.context("reading pservers/")?)
        }
        _ => BTreeMap::new(),
    };
    Ok((root.id(), hosts))
}

/// The directories in `tree` by name. A name that is no UTF-8 is shown as what it is like, and
/// refused as a name.
fn directories(tree: &Tree<'_>) -> BTreeMap<String, Oid> {
    let is_tree = |entry: &TreeEntry<'_>| entry.kind() == Some(ObjectType::Tree);
    let name = |entry: &TreeEntry<'_>| String::from_utf8_lossy(entry.name_bytes()).into_owned();
    let trees = tree.iter().filter(is_tree);
    trees.map(|entry| (name(&entry), entry.id())).collect()
}
