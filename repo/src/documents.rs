// SPDX-License-Identifier: GPL-3.0-or-later
//! The documents of a commit, host by host: a large fleet is never in memory as a whole.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use domus_model::contents::LISTS;
use domus_model::files::{BlobId, Documents, Files, Leaf, LeafKind};
use domus_model::trust;
use git2::{ObjectType, Oid, Tree, TreeEntry};

use crate::Repo;
use crate::directories::{Directories, TreeId};
use crate::open::{LINK, PROGRAM};

/// The documents of one commit.
pub struct CommitDocuments {
    repo: Repo,
    roots: Arc<Roots>,
}

/// Where a commit's trees are.
#[derive(Debug)]
struct Roots {
    /// The commit's own tree.
    root: Oid,
    /// Its directories of hosts and of domUs, once somebody asked for all: for a large fleet the
    /// most of what is kept, so threads share them.
    hosts: OnceLock<Directories>,
    vservers: OnceLock<Directories>,
}

impl CommitDocuments {
    pub(crate) fn new(repo: Repo, commit: &str) -> Result<Self> {
        let root = repo.tree(commit)?.id();
        let roots = Arc::new(Roots {
            root,
            hosts: OnceLock::new(),
            vservers: OnceLock::new(),
        });
        Ok(Self { repo, roots })
    }

    /// The same commit for another thread, which opens the repository for itself.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn again(&self) -> Result<Self> {
        let repo = Repo::discover(self.repo.path())?;
        let roots = Arc::clone(&self.roots);
        Ok(Self { repo, roots })
    }

    /// Where the commit is.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The directories of hosts.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn hosts(&self) -> Result<&Directories> {
        self.listed(&self.roots.hosts, "pservers")
    }

    /// The directories of domUs, in `vservers/`.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn vservers(&self) -> Result<&Directories> {
        self.listed(&self.roots.vservers, "vservers")
    }

    fn listed<'l>(&self, kept: &'l OnceLock<Directories>, name: &str) -> Result<&'l Directories> {
        if let Some(listed) = kept.get() {
            return Ok(listed);
        }
        let listed = self.directories(self.tree_of(name)?)?;
        Ok(kept.get_or_init(|| listed))
    }

    /// What git calls the directory `name` of the commit: another, if anything in it is another.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn tree_of(&self, name: &str) -> Result<Option<TreeId>> {
        let root = self.tree(self.roots.root, "the commit's tree")?;
        let entry = root.get_name(name).filter(is_tree);
        Ok(entry.map(|entry| id_of(&entry)))
    }

    /// The directories in a tree; none in one that is not there.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn directories(&self, tree: Option<TreeId>) -> Result<Directories> {
        let Some(tree) = tree else {
            return Ok(Directories::default());
        };
        let id = Oid::from_bytes(&tree).context("reading a tree's id")?;
        Ok(Directories::of(&self.tree(id, "a tree of directories")?))
    }

    /// The tree of the directory called `name` in `parent`.
    fn directory(&self, parent: &str, name: &str) -> Option<Oid> {
        let listed = match parent {
            "pservers" => self.roots.hosts.get(),
            _ => self.roots.vservers.get(),
        };
        if let Some(listed) = listed {
            return listed.get(name);
        }
        let root = self.repo.git.find_tree(self.roots.root).ok()?;
        let entry = root.get_path(&Path::new(parent).join(name)).ok()?;
        is_tree(&entry).then(|| entry.id())
    }

    /// The names of the domUs of a host, by their documents.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn domus(&self, host: &str) -> Result<Vec<String>> {
        let Some(id) = self.directory("pservers", host) else {
            return Ok(Vec::new());
        };
        let tree = self.tree(id, host)?;
        let Some(domus) = tree.get_name("domUs").filter(is_tree) else {
            return Ok(Vec::new());
        };
        let domus = self.tree(domus.id(), host)?;
        let names = domus.iter().filter_map(|entry| {
            let name = entry.name().ok()?.strip_suffix(".toml")?;
            Some(name.to_owned())
        });
        Ok(names.collect())
    }

    /// Whether the commit has a file at `path`.
    pub fn has(&self, path: &str) -> bool {
        let root = self.repo.git.find_tree(self.roots.root);
        root.is_ok_and(|root| root.get_path(Path::new(path)).is_ok())
    }

    /// The documents that all hosts share.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn shared(&self) -> Result<Documents> {
        let mut documents = Documents::new();
        let root = self.tree(self.roots.root, "the commit's tree")?;
        self.add(&root, "", &mut documents)?;
        self.add_below(
            &root,
            "",
            |name| ["global", "images", trust::EARLIER, LISTS].contains(&name),
            &mut documents,
        )?;
        for entry in &root {
            match entry.name() {
                Ok("global") if is_tree(&entry) => {
                    let global = self.tree(entry.id(), "global/")?;
                    self.add_etc(&global, "global/", &mut documents)?;
                }
                Ok("groups") if is_tree(&entry) => {
                    let groups = self.directories(Some(id_of(&entry)))?;
                    for (name, id) in groups.iter() {
                        let directory = format!("groups/{name}/");
                        let tree = self.tree(id, &directory)?;
                        self.add(&tree, &directory, &mut documents)?;
                        self.add_etc(&tree, &directory, &mut documents)?;
                    }
                }
                _ => {}
            }
        }
        Ok(documents)
    }

    /// The documents of one host, which may be none.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn host(&self, name: &str) -> Result<Documents> {
        let mut documents = Documents::new();
        if let Some(id) = self.directory("pservers", name) {
            let directory = format!("pservers/{name}/");
            let tree = self.tree(id, &directory)?;
            self.add(&tree, &directory, &mut documents)?;
            // Other spellings are read too, so that `check` can say that they are wrong.
            let domus = |name: &str| name.eq_ignore_ascii_case("domUs");
            self.add_below(&tree, &directory, domus, &mut documents)?;
            self.add_etc(&tree, &directory, &mut documents)?;
        }
        Ok(documents)
    }

    /// The documents in the directory of a domU in `vservers/`, which may be none.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn vserver(&self, name: &str) -> Result<Documents> {
        let mut documents = Documents::new();
        if let Some(id) = self.directory("vservers", name) {
            let directory = format!("vservers/{name}/");
            let tree = self.tree(id, &directory)?;
            self.add(&tree, &directory, &mut documents)?;
            self.add_etc(&tree, &directory, &mut documents)?;
        }
        Ok(documents)
    }

    /// Adds what is in the `etc/` of `tree`, the layer in the directory of that path.
    fn add_etc(&self, tree: &Tree<'_>, directory: &str, documents: &mut Documents) -> Result<()> {
        match tree.get_name("etc").filter(is_tree) {
            Some(etc) => self.add_leaves(
                etc.id(),
                &format!("{directory}etc/"),
                Files::DEEPEST,
                documents,
            ),
            None => Ok(()),
        }
    }

    fn add_leaves(
        &self,
        id: Oid,
        directory: &str,
        left: usize,
        documents: &mut Documents,
    ) -> Result<()> {
        let tree = self.tree(id, directory)?;
        self.add(&tree, directory, documents)?;
        for entry in &tree {
            let name = String::from_utf8_lossy(entry.name_bytes());
            if is_tree(&entry) && left > 0 {
                let below = format!("{directory}{name}/");
                self.add_leaves(entry.id(), &below, left - 1, documents)?;
                continue;
            }
            let kind = match (entry.kind(), entry.filemode()) {
                _ if entry.name().is_err() => LeafKind::Other,
                (_, LINK) => LeafKind::Link,
                (Some(ObjectType::Blob), PROGRAM) => LeafKind::Program,
                (Some(ObjectType::Blob), _) => LeafKind::File,
                _ => LeafKind::Other,
            };
            let id = BlobId(id_of(&entry));
            documents.insert_leaf(format!("{directory}{name}"), Leaf { kind, id });
        }
        Ok(())
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
        let mut path = directory.to_owned();
        for entry in tree {
            path.truncate(directory.len());
            path.push_str(&String::from_utf8_lossy(entry.name_bytes()));
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
                documents.insert_unreadable(&*path, unreadable);
                continue;
            }
            let reading = || format!("reading {path}");
            let (size, _) = odb.read_header(entry.id()).with_context(reading)?;
            if size > Files::LONGEST {
                documents.insert(&*path, vec![b'#'; Files::LONGEST + 1]);
                continue;
            }
            let object = odb.read(entry.id()).with_context(reading)?;
            documents.insert(&*path, object.data().to_vec());
        }
        Ok(())
    }

    fn tree(&self, id: Oid, what: &str) -> Result<Tree<'_>> {
        let tree = self.repo.git.find_tree(id);
        tree.with_context(|| format!("reading {what}"))
    }
}

fn id_of(entry: &TreeEntry<'_>) -> TreeId {
    let mut id = TreeId::default();
    id.copy_from_slice(entry.id().as_bytes());
    id
}

fn is_tree(entry: &TreeEntry<'_>) -> bool {
    entry.kind() == Some(ObjectType::Tree)
}
