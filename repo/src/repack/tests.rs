// SPDX-License-Identifier: GPL-3.0-or-later
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
