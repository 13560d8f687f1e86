// SPDX-License-Identifier: GPL-3.0-or-later
//! The objects of a repository, for who reads many: trees and blobs as bytes.

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use git2::{ObjectType, Oid};

use crate::Repo;
use crate::open::{LARGEST_TREE, hex};
use crate::packs::{Kind, Packs};
use crate::tree::Id;

/// Where objects are read.
pub(crate) struct Objects {
    repo: Repo,
    /// For who reads each object once and shows what he found. libgit2 reads what is not in here,
    /// and all objects for everybody else: it compares them with their names.
    packs: Option<RefCell<Packs>>,
}

impl Objects {
    /// Those of a repository, each compared with its name.
    pub(crate) fn compared(repo: Repo) -> Self {
        Self { repo, packs: None }
    }

    /// The same, not compared.
    pub(crate) fn trusted(repo: Repo) -> Self {
        // libgit2's switches are for all of it. It keeps no objects from now on, either.
        git2::opts::strict_hash_verification(false);
        git2::opts::enable_caching(false);
        let packs = Packs::open(&repo.common_path().join("objects"));
        let packs = Some(RefCell::new(packs));
        Self { repo, packs }
    }

    /// The same for another thread, which opens the repository for itself.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn again(&self) -> Result<Self> {
        let repo = Repo::discover(self.repo.path())?;
        let packs = self.packs.as_ref();
        let packs = packs.map(|packs| RefCell::new(packs.borrow().again()));
        Ok(Self { repo, packs })
    }

    pub(crate) fn repo(&self) -> &Repo {
        &self.repo
    }

    /// A tree, unless it is so large that somebody made it to fill the memory.
    ///
    /// # Errors
    /// It is missing, damaged, too large, or no tree.
    pub(crate) fn tree(&self, id: &Id) -> Result<Vec<u8>> {
        let content = self.read(id, Kind::Tree, LARGEST_TREE)?;
        content.with_context(|| {
            let id = hex(id);
            format!("the tree {id} has more than {LARGEST_TREE} bytes, and more are not read")
        })
    }

    /// A blob of `most` bytes or less; `None` if it has more.
    ///
    /// # Errors
    /// It is missing or damaged, or no blob.
    pub(crate) fn blob(&self, id: &Id, most: usize) -> Result<Option<Vec<u8>>> {
        self.read(id, Kind::Blob, most)
    }

    /// How many bytes an object has.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub(crate) fn size(&self, id: &Id) -> Result<usize> {
        let packs = self.packs.as_ref();
        match packs.and_then(|packs| packs.borrow_mut().size(id)) {
            Some(size) => Ok(size),
            None => Ok(self.repo.size(Oid::from_bytes(id)?)?.0),
        }
    }

    fn read(&self, id: &Id, kind: Kind, most: usize) -> Result<Option<Vec<u8>>> {
        let packs = self.packs.as_ref();
        let packed = packs.and_then(|packs| packs.borrow_mut().read(id, most));
        if let Some((_, content)) = packed.filter(|(found, _)| *found == kind) {
            return Ok(Some(content));
        }
        let id = Oid::from_bytes(id).context("reading an object's id")?;
        read(&self.repo, id, kind, most)
    }
}

/// What libgit2 reads.
fn read(repo: &Repo, id: Oid, kind: Kind, most: usize) -> Result<Option<Vec<u8>>> {
    // Asked first, so that nothing huge is read.
    let (size, _) = repo.size(id)?;
    if size > most {
        return Ok(None);
    }
    let objects = repo.git.odb().context("opening git's objects")?;
    let object = objects.read(id)?;
    let wanted = match kind {
        Kind::Tree => ObjectType::Tree,
        Kind::Blob => ObjectType::Blob,
        Kind::Commit => ObjectType::Commit,
        Kind::Tag => ObjectType::Tag,
    };
    ensure!(object.kind() == wanted, "the object {id} is no {wanted}");
    Ok(Some(object.data().to_vec()))
}
