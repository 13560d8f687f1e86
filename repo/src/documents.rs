// SPDX-License-Identifier: GPL-3.0-or-later
//! The documents of a commit, host by host: a large fleet is never in memory as a whole.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use domus_model::contents::LISTS;
use domus_model::files::{BlobId, Documents, Files, Leaf, LeafKind};
use domus_model::trust;

use crate::Repo;
use crate::directories::{Directories, TreeId};
use crate::objects::Objects;
use crate::tree::{self, Entry, EntryKind};

/// The documents of one commit.
pub struct CommitDocuments {
    objects: Objects,
    roots: Arc<Roots>,
}

/// Where a commit's trees are.
#[derive(Debug)]
struct Roots {
    /// The commit's own tree.
    root: TreeId,
    /// Its directories of hosts and of domUs, once somebody asked for all: for a large fleet the
    /// most of what is kept, so threads share them.
    hosts: OnceLock<Directories>,
    vservers: OnceLock<Directories>,
}

impl CommitDocuments {
    /// Those of the commit with that id.
    pub(crate) fn new(objects: Objects, commit: &str) -> Result<Self> {
        let root = objects.repo().root(commit)?;
        let roots = Arc::new(Roots {
            root,
            hosts: OnceLock::new(),
            vservers: OnceLock::new(),
        });
        Ok(Self { objects, roots })
    }

    /// The same commit for another thread.
    ///
    /// # Errors
    /// Its repository cannot be opened.
    pub fn again(&self) -> Result<Self> {
        let objects = self.objects.again()?;
        let roots = Arc::clone(&self.roots);
        Ok(Self { objects, roots })
    }

    /// Where the commit is.
    pub fn repo(&self) -> &Repo {
        self.objects.repo()
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
        let root = self.tree(&self.roots.root, "the commit's tree")?;
        let entry = tree::find(&root, name)?.filter(Entry::is_tree);
        Ok(entry.map(|entry| entry.id))
    }

    /// The directories in a tree; none in one that is not there.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn directories(&self, tree: Option<TreeId>) -> Result<Directories> {
        let Some(tree) = tree else {
            return Ok(Directories::default());
        };
        Directories::of(&self.tree(&tree, "a tree of directories")?)
    }

    /// The tree of the directory called `name` in `parent`.
    fn directory(&self, parent: &str, name: &str) -> Result<Option<TreeId>> {
        let listed = match parent {
            "pservers" => self.roots.hosts.get(),
            _ => self.roots.vservers.get(),
        };
        if let Some(listed) = listed {
            return Ok(listed.get(name));
        }
        let Some(parent) = self.tree_of(parent)? else {
            return Ok(None);
        };
        let parent = self.tree(&parent, "a tree of directories")?;
        let entry = tree::find(&parent, name)?.filter(Entry::is_tree);
        Ok(entry.map(|entry| entry.id))
    }

    /// The names of the domUs of a host, by their documents.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn domus(&self, host: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let domus = self.tree_of_domus(host)?.unwrap_or_default();
        for entry in tree::entries(&domus) {
            let name = entry?.text().and_then(|name| name.strip_suffix(".toml"));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }

    /// The tree of the documents of a host's domUs.
    fn tree_of_domus(&self, host: &str) -> Result<Option<Vec<u8>>> {
        let Some(id) = self.directory("pservers", host)? else {
            return Ok(None);
        };
        let tree = self.tree(&id, host)?;
        let domus = tree::find(&tree, "domUs")?.filter(Entry::is_tree);
        domus.map(|domus| self.tree(&domus.id, host)).transpose()
    }

    /// Whether a host has a document of a domU of that name.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn has_domu(&self, host: &str, domu: &str) -> Result<bool> {
        let domus = self.tree_of_domus(host)?;
        let document = format!("{domu}.toml");
        domus.map_or(
            Ok(false),
            |tree| Ok(tree::find(&tree, &document)?.is_some()),
        )
    }

    /// The documents that all hosts share.
    ///
    /// # Errors
    /// Objects are missing or damaged.
    pub fn shared(&self) -> Result<Documents> {
        let mut documents = Documents::new();
        let root = self.tree(&self.roots.root, "the commit's tree")?;
        self.add(&root, "", &mut documents)?;
        self.add_below(
            &root,
            "",
            |name| ["global", "images", trust::EARLIER, LISTS].contains(&name),
            &mut documents,
        )?;
        for entry in tree::entries(&root) {
            let entry = entry?;
            match entry.name {
                b"global" if entry.is_tree() => {
                    let global = self.tree(&entry.id, "global/")?;
                    self.add_etc(&global, "global/", &mut documents)?;
                }
                b"groups" if entry.is_tree() => {
                    let groups = self.directories(Some(entry.id))?;
                    for (name, id) in groups.iter() {
                        let directory = format!("groups/{name}/");
                        let tree = self.tree(&id, &directory)?;
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
        if let Some(id) = self.directory("pservers", name)? {
            let directory = format!("pservers/{name}/");
            let tree = self.tree(&id, &directory)?;
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
        if let Some(id) = self.directory("vservers", name)? {
            let directory = format!("vservers/{name}/");
            let tree = self.tree(&id, &directory)?;
            self.add(&tree, &directory, &mut documents)?;
            self.add_etc(&tree, &directory, &mut documents)?;
        }
        Ok(documents)
    }

    /// Adds what is in the `etc/` of `tree`, the layer in the directory of that path.
    fn add_etc(&self, tree: &[u8], directory: &str, documents: &mut Documents) -> Result<()> {
        match tree::find(tree, "etc")?.filter(Entry::is_tree) {
            Some(etc) => {
                let below = format!("{directory}etc/");
                self.add_leaves(&etc.id, &below, Files::DEEPEST, documents)
            }
            None => Ok(()),
        }
    }

    fn add_leaves(
        &self,
        id: &TreeId,
        directory: &str,
        left: usize,
        documents: &mut Documents,
    ) -> Result<()> {
        let tree = self.tree(id, directory)?;
        self.add(&tree, directory, documents)?;
        for entry in tree::entries(&tree) {
            let entry = entry?;
            let name = String::from_utf8_lossy(entry.name);
            if entry.is_tree() && left > 0 {
                let below = format!("{directory}{name}/");
                self.add_leaves(&entry.id, &below, left - 1, documents)?;
                continue;
            }
            let kind = match entry.kind {
                _ if entry.text().is_none() => LeafKind::Other,
                EntryKind::Link => LeafKind::Link,
                EntryKind::File | EntryKind::Program if self.is_large(&entry)? => LeafKind::Large,
                EntryKind::Program => LeafKind::Program,
                EntryKind::File => LeafKind::File,
                EntryKind::Tree | EntryKind::Submodule => LeafKind::Other,
            };
            let id = BlobId(entry.id);
            documents.insert_leaf(format!("{directory}{name}"), Leaf { kind, id });
        }
        Ok(())
    }

    /// Whether a file is larger than hosts take.
    fn is_large(&self, entry: &Entry<'_>) -> Result<bool> {
        let size = self.objects.size(&entry.id);
        let name = || format!("reading {}", String::from_utf8_lossy(entry.name));
        Ok(size.with_context(name)? as u64 > Files::LARGEST_PART)
    }

    /// Adds the documents in those directories of `tree` that are `wanted`.
    fn add_below(
        &self,
        tree: &[u8],
        directory: &str,
        wanted: impl Fn(&str) -> bool,
        documents: &mut Documents,
    ) -> Result<()> {
        for entry in tree::entries(tree) {
            let entry = entry?;
            let Some(name) = entry.text() else { continue };
            if entry.is_tree() && wanted(name) {
                let below = format!("{directory}{name}/");
                self.add(&self.tree(&entry.id, &below)?, &below, documents)?;
            }
        }
        Ok(())
    }

    /// Adds the documents that are directly in `tree`, the directory of that path.
    fn add(&self, tree: &[u8], directory: &str, documents: &mut Documents) -> Result<()> {
        let mut path = directory.to_owned();
        for entry in tree::entries(tree) {
            let entry = entry?;
            path.truncate(directory.len());
            path.push_str(&String::from_utf8_lossy(entry.name));
            if !Files::wants(&path) {
                continue;
            }
            let unreadable = match entry.kind {
                _ if entry.text().is_none() => "has a name that is not UTF-8",
                EntryKind::Link => "is a link, which git stores as a link",
                EntryKind::File | EntryKind::Program => "",
                EntryKind::Tree | EntryKind::Submodule => "is no plain file",
            };
            if !unreadable.is_empty() {
                documents.insert_unreadable(&*path, unreadable);
                continue;
            }
            let content = self.objects.blob(&entry.id, Files::LONGEST);
            let content = content.with_context(|| format!("reading {path}"))?;
            let too_long = || vec![b'#'; Files::LONGEST + 1];
            documents.insert(&*path, content.unwrap_or_else(too_long));
        }
        Ok(())
    }

    fn tree(&self, id: &TreeId, what: &str) -> Result<Vec<u8>> {
        let tree = self.objects.tree(id);
        tree.with_context(|| format!("reading {what}"))
    }
}
