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
mod tests {
    use super::*;
    use crate::{Export, carry, init_with_commit};
    use git2::{Repository, Signature};
    use std::process::Command;

    /// A host's repository, and where its commits are made.
    struct Place {
        dir: tempfile::TempDir,
        work: Repository,
        host: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("dir");
            let work = dir.path().join("work");
            fs::create_dir_all(work.join("pservers/alpha")).expect("mkdir");
            fs::write(work.join("pservers/alpha/host.toml"), "").expect("write");
            let first = init_with_commit(&work, "0").expect("commit");
            let host = dir.path().join("repo.git");
            carry(&Repo::open(&work).expect("open"), &first, &host).expect("carried");
            let work = Repository::open(&work).expect("open");
            Self { dir, work, host }
        }

        /// A commit after the one before, with a file, and with others of an id.
        fn commit(&self, content: &[u8], others: &[(&str, Oid)]) -> Oid {
            let parent = self.work.head().and_then(|head| head.peel_to_commit());
            let parent = parent.expect("head");
            let blob = self.work.blob(content).expect("blob");
            let mut changed = git2::build::TreeUpdateBuilder::new();
            changed.upsert("pservers/alpha/etc/file", blob, git2::FileMode::Blob);
            for (path, id) in others {
                changed.upsert(*path, *id, git2::FileMode::Blob);
            }
            let base = parent.tree().expect("tree");
            let tree = changed.create_updated(&self.work, &base).expect("a tree");
            let tree = self.work.find_tree(tree).expect("a tree");
            let who = Signature::now("x", "x@example.net").expect("who");
            let commit = self
                .work
                .commit(Some("HEAD"), &who, &who, "x", &tree, &[&parent]);
            commit.expect("commit")
        }

        /// Brings what leads to a commit to the host, in a pack of its own.
        fn bring(&self, commit: Oid) {
            let host = Repository::open_bare(&self.host).expect("open");
            let url = self.dir.path().join("work");
            let mut remote = host
                .remote_anonymous(url.to_str().expect("a path"))
                .expect("remote");
            let spec = format!("+HEAD:{FETCHED_REF}");
            remote.fetch(&[spec], None, None).expect("fetched");
            assert_eq!(host.refname_to_id(FETCHED_REF).ok(), Some(commit));
        }

        fn repo(&self) -> Repo {
            Repo::open(&self.host).expect("open")
        }

        /// How many packs there are, and how many bytes they have.
        fn packs(&self) -> (usize, u64) {
            let packs = Pack::all(&self.host.join("objects")).expect("packs");
            (packs.len(), packs.iter().map(Pack::size).sum())
        }

        fn ensure_whole(&self) {
            let mut fsck = Command::new("git");
            fsck.arg("-C").arg(&self.host).args(["fsck", "--strict"]);
            let output = fsck.output().expect("git");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && said.is_empty(), "{said}");
            let (repo, host) = (self.repo(), "alpha".parse().expect("a name"));
            for generation in repo.generations().expect("generations") {
                let to = tempfile::tempdir().expect("dir");
                let mut export = Export::new(&repo, &generation.commit.id).expect("export");
                export.slice(&host, to.path()).expect("it is whole");
            }
        }
    }

    /// Bytes that do not compress.
    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn what_is_pulled_is_packed_and_what_was_refused_is_gone() {
        const LENGTH: usize = 100_000;
        let place = Place::new();
        let (mut most, mut refused) = (0, 0);
        for number in 1..=60 {
            let is_taken = number % 4 == 0;
            let commit = place.commit(&noise(number, LENGTH), &[]);
            place.bring(commit);
            let repo = place.repo();
            if is_taken {
                repo.adopt(&commit.to_string()).expect("adopted");
                repo.prune(5).expect("pruned");
            } else {
                // Somebody rewinds the branch: nothing leads there any more.
                refused += 1;
                let parent = place.work.find_commit(commit).and_then(|it| it.parent(0));
                let branch = place.work.head().expect("head");
                let branch = branch.name().expect("a name").to_owned();
                let parent = parent.expect("a parent").id();
                place
                    .work
                    .reference(&branch, parent, true, "")
                    .expect("rewound");
            }
            if repo.repack().expect("packed") {
                place.ensure_whole();
            }
            most = most.max(place.packs().0);
        }
        let (count, bytes) = place.packs();
        // The kept one, those that may be, and the one that made it too many.
        assert!(
            most <= 1 + LIMITS.packs + 1 && count <= most,
            "{most} packs"
        );
        let taken = (60 - refused) as u64 * LENGTH as u64;
        let left = LIMITS.packs as u64 * LENGTH as u64;
        assert!(
            bytes < taken + left + 100_000,
            "{bytes} bytes, {taken} were taken"
        );
        place.ensure_whole();
    }

    #[test]
    fn one_that_is_large_is_kept_and_not_made_again() {
        let place = Place::new();
        for number in 0..3 {
            for small in 0..10 {
                // 7 MB in a few packs, 21 MB in all.
                let commit = place.commit(&noise(number * 100 + small, 700_000), &[]);
                place.bring(commit);
                place.repo().adopt(&commit.to_string()).expect("adopted");
            }
            assert!(place.repo().repack().expect("packed"));
            place.ensure_whole();
        }
        let packs = Pack::all(&place.host.join("objects")).expect("packs");
        let kept = packs.iter().filter(|pack| pack.is_kept());
        assert_eq!((packs.len(), kept.count()), (2, 2));
        assert!(!place.repo().repack().expect("nothing to do"));
    }

    #[test]
    fn many_objects_are_packed_and_kept_and_too_many_are_refused() {
        let place = Place::new();
        for number in 0..5 {
            let commit = place.commit(&noise(number, 100), &[]);
            place.bring(commit);
            place.repo().adopt(&commit.to_string()).expect("adopted");
        }
        let count = |place: &Place| {
            let packs = Pack::all(&place.host.join("objects")).expect("packs");
            packs
                .iter()
                .filter(|pack| !pack.is_kept())
                .map(Pack::count)
                .sum::<usize>()
        };
        // A commit, four trees and a file of each.
        assert_eq!(count(&place), 30);
        let limits = |objects, too_many| Limits {
            objects,
            too_many,
            kept: (u64::MAX, 30),
            ..LIMITS
        };
        let repack = |limits| place.repo().repack_within(&limits);
        assert!(!repack(limits(30, 0)).expect("nothing to do"));
        let error = format!("{:#}", repack(limits(29, 29)).expect_err("too many"));
        assert!(
            error.contains("30 objects") && error.contains("domus config disk"),
            "{error}"
        );
        assert_eq!(count(&place), 30);
        assert!(repack(limits(29, 30)).expect("packed"));
        assert_eq!(count(&place), 0);
        place.ensure_whole();
    }

    #[test]
    fn what_is_large_is_copied_and_not_read() {
        let place = Place::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dom0/agent/tests/giant.py");
        let packs = place.host.join("objects/pack");
        let mut python = Command::new("python3");
        let output = python.arg(script).arg(&packs).arg("200").output();
        let id = String::from_utf8(output.expect("python3").stdout).expect("an id");
        let large: Oid = id.trim().parse().expect("an id");
        // There, too, or nobody can commit it.
        run(
            "cp",
            &[
                "-r",
                &text(&packs),
                &text(&place.work.path().join("objects")),
            ],
        );
        for number in 0..10 {
            let commit = place.commit(&noise(number, 100), &[("docs/big", large)]);
            let host = Repository::open_bare(&place.host).expect("open");
            let mut builder = place.work.packbuilder().expect("builder");
            let commit = place.work.find_commit(commit).expect("a commit");
            builder.insert_object(commit.id(), None).expect("commit");
            insert_small(&place.work, &mut builder, commit.tree_id());
            builder.write(&packs, 0o444).expect("written");
            host.odb().and_then(|odb| odb.refresh()).expect("refreshed");
            place
                .repo()
                .adopt(&commit.id().to_string())
                .expect("adopted");
        }
        assert!(place.repo().repack().expect("packed"));
        place.ensure_whole();
        let found = Pack::all(&place.host.join("objects")).expect("packs");
        let with: Vec<&Pack> = found.iter().filter(|pack| pack.has(large)).collect();
        assert!(with.len() == 1 && with[0].is_kept() && found.len() == 3);
    }

    fn insert_small(git: &Repository, builder: &mut PackBuilder<'_>, tree: Oid) {
        builder.insert_object(tree, None).expect("tree");
        for entry in &git.find_tree(tree).expect("a tree") {
            match entry.kind() {
                Some(ObjectType::Tree) => insert_small(git, builder, entry.id()),
                _ if entry.name().ok() == Some("big") => {}
                _ => builder.insert_object(entry.id(), None).expect("file"),
            }
        }
    }

    fn text(path: &Path) -> String {
        path.to_str().expect("UTF-8").to_owned()
    }

    fn run(program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).status();
        assert!(status.expect(program).success());
    }
}
