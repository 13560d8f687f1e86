// SPDX-License-Identifier: GPL-3.0-or-later
//! Packing anew: a host gets a pack with each pull, and of what it refused, the objects stay. Now
//! and then one pack is made of all that its refs lead to, and the others are removed when that is
//! on the disk. What is large, and what was once packed so, is left where it is: beside such a pack
//! lies a `.keep`, git's own word for that, and it leads to nothing but what such packs have.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use git2::{ObjectType, Oid, PackBuilder};
use rustix::fs::statvfs;
use sha1_smol::Sha1;

use crate::Repo;
use crate::fetch::FETCHED_REF;
use crate::open::{LARGEST_BASE, SEND_WHOLE};
use crate::packs::{Pack, keep, start};

/// When packs are made anew, and which of them stay.
struct Limits {
    /// How many packs there may be beside those that are kept.
    packs: usize,
    /// How many bytes those may have together.
    bytes: u64,
    /// How many objects those may have together.
    objects: usize,
    /// From how many bytes or objects on a pack is kept once it is made.
    kept: (u64, usize),
    /// More objects are not packed here: libgit2 takes some 700 bytes for each, whatever its own
    /// limits are.
    too_many: usize,
}

const LIMITS: Limits = Limits {
    packs: 8,
    bytes: 64 << 20,
    objects: 50_000,
    kept: (16 << 20, 12_500),
    too_many: 250_000,
};
/// How many bytes libgit2 may compare with each other while it packs, and keep of what it found.
const MEMORY: i64 = 16 << 20;
/// All that git puts beside a pack, the pack first: without it the others are nothing.
const ENDINGS: [&str; 5] = ["pack", "rev", "bitmap", "mtimes", "idx"];

impl Repo {
    /// Makes one pack of all that the refs lead to and removes the others, if there are many; and
    /// says whether it did. What was fetched last and not taken is forgotten then. Nobody else may be
    /// writing, and whoever reads has to open the repository again.
    ///
    /// # Errors
    /// There is no room, the disk is read-only, or something is damaged. Nothing is lost.
    pub fn repack(&self) -> Result<bool> {
        self.repack_within(&LIMITS)
    }

    fn repack_within(&self, limits: &Limits) -> Result<bool> {
        let objects = self.objects();
        let doing = || format!("packing {} anew", self.path().display());
        let packs = Pack::all(&objects).with_context(doing)?;
        let (kept, old): (Vec<Pack>, Vec<Pack>) = packs.into_iter().partition(Pack::is_kept);
        let bytes = old.iter().map(Pack::size).sum();
        let count: usize = old.iter().map(Pack::count).sum();
        if old.len() <= limits.packs && bytes <= limits.bytes && count <= limits.objects {
            return Ok(false);
        }
        ensure_few(count, limits.too_many).with_context(doing)?;
        ensure_room(&objects, bytes).with_context(doing)?;
        self.forget(FETCHED_REF).with_context(doing)?;
        let made = self.pack(&kept, &old, limits).with_context(doing)?;
        remove(&old, &made, &objects).with_context(doing)?;
        Ok(true)
    }

    fn objects(&self) -> PathBuf {
        self.common_path().join("objects")
    }

    /// Packs what the refs lead to and kept packs do not have; returns the indexes.
    fn pack(&self, kept: &[Pack], old: &[Pack], limits: &Limits) -> Result<Vec<PathBuf>> {
        let objects = self.objects();
        self.limit_memory()?;
        let mut builder = self.git.packbuilder()?;
        let needed = self.needed(kept, &mut builder)?;
        let directory = objects.join("pack");
        let mut made = Vec::new();
        if builder.object_count() > 0 {
            // One: of more, each would have the memory for itself.
            builder.set_threads(1);
            builder.write(&directory, 0o444)?;
            let name = builder.name()?.context("the new pack has no name")?;
            made.push(directory.join(format!("pack-{name}.idx")));
        }
        if !needed.large.is_empty() {
            let name = self.copy(&needed.large, old)?;
            made.push(directory.join(format!("pack-{name}.idx")));
        }
        let packs = Pack::all(&objects)?;
        let new = || packs.iter().filter(|pack| made.contains(&pack.index));
        for id in needed.small.iter().chain(&needed.large) {
            let is_there = new().any(|pack| pack.has(*id));
            ensure!(is_there, "the new pack lacks {id}");
        }
        for pack in new() {
            let is_large = needed.large.iter().any(|id| pack.has(*id));
            let is_long = pack.size() >= limits.kept.0 || pack.count() >= limits.kept.1;
            if is_large || is_long {
                keep(&pack.index)?;
            }
        }
        Ok(made)
    }

    /// libgit2 has these numbers from the repository alone. The cache's is the one of objects that
    /// it compares with none, too.
    fn limit_memory(&self) -> Result<()> {
        let mut config = self.git.config()?;
        for name in ["pack.windowMemory", "pack.deltaCacheSize"] {
            if config.get_i64(name).ok() != Some(MEMORY) {
                config.set_i64(name, MEMORY)?;
            }
        }
        Ok(())
    }

    /// Walks from the refs to what kept packs have, and gives `builder` all that is not large.
    fn needed(&self, kept: &[Pack], builder: &mut PackBuilder<'_>) -> Result<Needed> {
        let mut needed = Needed::default();
        let mut seen = HashSet::new();
        let mut left = Vec::new();
        let mut push = |left: &mut Vec<_>, id: Oid, name: &str| {
            let is_kept = || kept.iter().any(|pack| pack.has(id));
            if seen.insert(id) && !is_kept() {
                left.push((id, name.to_owned()));
            }
        };
        for reference in self.git.references()? {
            reference?
                .target()
                .into_iter()
                .for_each(|id| push(&mut left, id, ""));
        }
        let head = self.git.head().ok().and_then(|head| head.target());
        head.into_iter().for_each(|id| push(&mut left, id, ""));
        while let Some((id, name)) = left.pop() {
            let (size, kind) = self.size(id)?;
            if kind == ObjectType::Blob && size > LARGEST_BASE {
                needed.large.push(id);
                continue;
            }
            builder.insert_object(id, Some(&name))?;
            needed.small.push(id);
            match kind {
                ObjectType::Commit => {
                    let commit = self.find_commit(id)?;
                    push(&mut left, commit.tree_id(), "");
                    commit.parent_ids().for_each(|id| push(&mut left, id, ""));
                }
                ObjectType::Tree => {
                    for entry in &self.find_tree(id)? {
                        let name = String::from_utf8_lossy(entry.name_bytes());
                        if entry.kind() != Some(ObjectType::Commit) {
                            push(&mut left, entry.id(), &name);
                        }
                    }
                }
                ObjectType::Blob => {}
                _ => bail!("a ref leads to {id}, which is a {kind}: no host has one"),
            }
        }
        Ok(needed)
    }

    /// Makes a pack of large objects as they are in others, and returns its name.
    fn copy(&self, ids: &[Oid], from: &[Pack]) -> Result<String> {
        let odb = self.git.odb()?;
        let mut writer = odb.packwriter()?;
        let mut hash = Sha1::new();
        let mut write = |bytes: &[u8]| {
            hash.update(bytes);
            writer.write_all(bytes)
        };
        write(&start(u32::try_from(ids.len())?))?;
        for id in ids {
            let stored = from.iter().find_map(|pack| pack.whole(*id));
            let stored = stored.with_context(|| {
                format!("the object {id} is large, and stored as a difference: {SEND_WHOLE}")
            })?;
            write(stored)?;
        }
        let name = hash.digest();
        writer.write_all(&name.bytes())?;
        writer.commit()?;
        Ok(name.to_string())
    }
}

/// What has to be in the new packs.
#[derive(Default)]
struct Needed {
    small: Vec<Oid>,
    /// What is too large to be read.
    large: Vec<Oid>,
}

/// Makes sure that packing so many objects fits in the memory of a dom0. Nobody but a hand has brought
/// so many at once: what a medium or `domus config disk` carries is kept.
fn ensure_few(count: usize, most: usize) -> Result<()> {
    ensure!(
        count <= most,
        "its packs have {count} objects, of which {most} can be packed here; it goes on growing \
         until the repository comes from `domus config disk` or a new medium"
    );
    Ok(())
}

/// Makes sure that there is room for as much again as is to be packed.
fn ensure_room(objects: &Path, wanted: u64) -> Result<()> {
    let room = statvfs(objects)?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    ensure!(
        wanted <= free,
        "this takes {wanted} bytes of room, and there are {free}: it goes on growing until there is \
         more; remove what else lies on the partition, or make that larger"
    );
    Ok(())
}

/// Removes packs of which all that is needed is in others.
fn remove(old: &[Pack], made: &[PathBuf], objects: &Path) -> Result<()> {
    // An index of several packs, which somebody made by hand.
    remove_file(&objects.join("pack/multi-pack-index"))?;
    for pack in old.iter().filter(|pack| !made.contains(&pack.index)) {
        for ending in ENDINGS {
            remove_file(&pack.index.with_extension(ending))?;
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
