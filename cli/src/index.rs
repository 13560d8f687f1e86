// SPDX-License-Identifier: GPL-3.0-or-later
//! The index of claims: what a proof of one commit leaves in the repository's git directory for the
//! next, so that only what changed is read. It makes checks faster and never decides one: what it
//! says is a property of git's trees, and where there is any doubt all is proved anew.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use domus_model::files::{Digest, Documents};
use domus_model::load::Proof;
use domus_model::vouch::{ClaimId, Vouched};
use domus_repo::{Beside, CommitDocuments, Directories, TreeId};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use file::{Claim, IndexFile, Key, Tables};

/// One in so many hosts may be read at each check although it has no problem; if there are more,
/// the index is written anew.
const STALE: usize = 256;

/// Where the index of a repository is, and by whom and for what it must have been made.
#[derive(Clone)]
pub(crate) struct Index {
    path: PathBuf,
    key: Key,
}

/// An index that is to be written.
pub(crate) struct Renewal {
    index: Index,
    tables: Tables,
    claims: Vec<Claim>,
}

/// The hosts of a commit that earlier proofs vouch for.
pub(crate) struct Known {
    file: IndexFile,
    /// For each host of the index its place in the commit, while it is vouched for.
    kept: Vec<Option<usize>>,
    /// Hosts of the commit that are to be read.
    unknown: Vec<String>,
}

impl Index {
    /// The index for commits whose hosts share these documents; `None` if this program cannot be
    /// told from others.
    pub(crate) fn of(commit: &CommitDocuments, shared: &Documents) -> Option<Self> {
        Some(Self {
            path: commit.repo().common_path().join("domus/index"),
            key: Key {
                program: own_digest().ok()?,
                shared: shared.digest(),
            },
        })
    }

    /// What it knows of a commit. `before` is another, of which the index probably is.
    ///
    /// # Errors
    /// There is none, or none that can be used.
    pub(crate) fn read(
        &self,
        commit: &CommitDocuments,
        before: Option<&CommitDocuments>,
    ) -> Result<Known> {
        let file = IndexFile::open(&self.path, &self.key)?;
        let mut known = Known {
            kept: vec![None; file.tables.hosts.len()],
            unknown: Vec::new(),
            file,
        };
        let (hosts, were) = (commit.hosts()?, known.file.tables.pservers);
        // A tree of a hundred thousand hosts is read once, if possible.
        let mut read = [Some(commit), before].into_iter().flatten();
        let is_same = |commit: &&CommitDocuments| {
            let tree = commit.tree_of("pservers");
            tree.is_ok_and(|tree| tree.unwrap_or_default() == were)
        };
        match read.find(is_same) {
            Some(read) => known.compare(read.hosts()?, hosts)?,
            None => known.compare(&commit.directories(some(were))?, hosts)?,
        }
        let were = known.file.tables.vservers;
        if commit.tree_of("vservers")?.unwrap_or_default() != were {
            let were = commit.directories(some(were))?;
            let changed = were.changed(commit.vservers()?).map(ClaimId::of_domu);
            let given_up = known.give_up(changed, hosts)?;
            known.unknown.extend(given_up);
        }
        Ok(known)
    }

    /// What is known and what was proved now, to be written if it is worth it.
    pub(crate) fn renewal(
        &self,
        commit: &CommitDocuments,
        known: Option<&Known>,
        proof: &Proof<'_>,
    ) -> Option<Renewal> {
        let hosts = commit.hosts().ok()?;
        let vouched = proof.vouch();
        if known.is_some() && vouched.hosts.len() <= hosts.len() / STALE {
            return None;
        }
        self.collect(commit, hosts, known, vouched).ok()
    }

    fn collect(
        &self,
        commit: &CommitDocuments,
        hosts: &Directories,
        known: Option<&Known>,
        vouched: Vouched,
    ) -> Result<Renewal> {
        let mut tables = Tables {
            pservers: commit.tree_of("pservers")?.unwrap_or_default(),
            vservers: commit.tree_of("vservers")?.unwrap_or_default(),
            hosts: vec![None; hosts.len()],
            loads: Vec::new(),
        };
        let mut loads = Vec::new();
        let mut claims = Vec::with_capacity(vouched.claims.len());
        if let Some(known) = known {
            let kept = known.kept.iter().zip(&known.file.tables.hosts);
            for (place, domus) in kept.filter_map(|(place, domus)| Some(((*place)?, *domus))) {
                tables.hosts[place] = domus;
            }
            for (host, load) in known.file.tables.loads()? {
                if let Some(place) = known.kept[host] {
                    loads.push((place, load));
                }
            }
            for claim in known.file.claims() {
                let (id, host) = claim?;
                if let Some(place) = known.kept[host as usize] {
                    claims.push((id, u32::try_from(place)?));
                }
            }
        }
        let mut places = Vec::with_capacity(vouched.hosts.len());
        for host in vouched.hosts {
            let place = hosts.find(&host.directory).context("finding a host")?;
            tables.hosts[place] = Some(u32::try_from(host.domus)?);
            loads.extend(host.loads.into_iter().map(|load| (place, load)));
            places.push(u32::try_from(place)?);
        }
        let new = vouched.claims.into_iter();
        claims.extend(new.map(|(id, host)| (id, places[host])));
        // Both parts are in order already.
        claims.sort();
        if !loads.is_empty() {
            tables.loads = serde_json::to_vec(&loads)?;
        }
        Ok(Renewal {
            index: self.clone(),
            tables,
            claims,
        })
    }
}

impl Renewal {
    /// Writes it, if it can be written: the next check finds one that was not by finding none.
    pub(crate) fn write(&self) {
        let _ = self.replace();
    }

    fn replace(&self) -> Result<()> {
        let Index { path, key } = &self.index;
        let directory = path.parent().context("finding the index")?;
        fs::create_dir_all(directory)?;
        let mut new = NamedTempFile::new_in(directory)?;
        file::write(&mut new, key, &self.tables, &self.claims)?;
        new.persist(path)?;
        Ok(())
    }
}

impl Known {
    /// The hosts that nobody vouches for.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Gives up the hosts that have one of these claims, which are now somebody else's, too: their
    /// names.
    pub(crate) fn give_up(
        &mut self,
        claims: impl Iterator<Item = ClaimId>,
        hosts: &Directories,
    ) -> Result<Vec<String>> {
        let mut claims: Vec<ClaimId> = claims.collect();
        claims.sort_unstable();
        let mut given_up = Vec::new();
        for (_, host) in self.file.find(&claims)? {
            if let Some(place) = self.kept[host as usize].take() {
                given_up.push(hosts.name(place).to_owned());
            }
        }
        Ok(given_up)
    }

    /// Those of these directories in `vservers/` that belong to no domU of a host that is vouched
    /// for.
    pub(crate) fn without_domu(&self, directories: Vec<String>) -> Result<Vec<String>> {
        let directories = directories.into_iter();
        let mut left: BTreeMap<ClaimId, String> = directories
            .map(|name| (ClaimId::of_domu(&name), name))
            .collect();
        let wanted: Vec<ClaimId> = left.keys().copied().collect();
        for (id, host) in self.file.find(&wanted)? {
            if self.kept[host as usize].is_some() {
                left.remove(&id);
            }
        }
        Ok(left.into_values().collect())
    }

    /// Adds the hosts that are vouched for to a proof of the others.
    pub(crate) fn add_to(&self, proof: &mut Proof<'_>) -> Result<()> {
        let all = self.kept.iter().zip(&self.file.tables.hosts);
        let kept = all.filter(|(place, _)| place.is_some());
        let domus = kept.clone().filter_map(|(_, domus)| *domus);
        let domus = domus.map(|domus| domus as usize).sum();
        let loads = self.file.tables.loads()?.into_iter();
        let loads = loads.filter(|(host, _)| self.kept[*host].is_some());
        proof.rely(kept.count(), domus, loads.map(|(_, load)| load));
        Ok(())
    }

    /// Takes over the hosts that are as they `were`, if they were vouched for; all others are to
    /// be read.
    fn compare(&mut self, were: &Directories, are: &Directories) -> Result<()> {
        if were.len() != self.kept.len() {
            bail!("the index is of another tree");
        }
        for beside in were.beside(are) {
            match beside {
                Beside::Both(was, is, true) if self.file.tables.hosts[was].is_some() => {
                    self.kept[was] = Some(is);
                }
                Beside::Both(_, is, _) | Beside::There(is) => {
                    self.unknown.push(are.name(is).to_owned());
                }
                Beside::Here(_) => {}
            }
        }
        Ok(())
    }
}

/// The id of a tree that may not be there.
fn some(tree: TreeId) -> Option<TreeId> {
    (tree != TreeId::default()).then_some(tree)
}

/// SHA-256 of this program.
fn own_digest() -> io::Result<Digest> {
    Ok(Sha256::digest(fs::read("/proc/self/exe")?).into())
}
