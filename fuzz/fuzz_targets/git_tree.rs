// SPDX-License-Identifier: GPL-3.0-or-later
//! Trees of git as an attacker writes them: names that lead out of the directory, links, names
//! that are no UTF-8, modes that do not exist. Nothing is written outside of the export, and
//! reading documents ends.
//!
//! The input is the raw tree of a host's `etc/`, without ids: `MODE NAME 0`, one after another; each
//! entry gets the id of a small file, of a link's target, or of the tree itself where its mode says so.
#![no_main]

use domus_repo::{Export, Repo};
use git2::{ObjectType, Oid, Repository, Signature};
use libfuzzer_sys::fuzz_target;
use std::fs;

fn tree(git: &Repository, entries: &[(&[u8], Oid)]) -> Oid {
    let mut raw = Vec::new();
    for (head, id) in entries {
        raw.extend_from_slice(head);
        raw.push(0);
        raw.extend_from_slice(id.as_bytes());
    }
    let odb = git.odb().expect("objects");
    odb.write(ObjectType::Tree, &raw).expect("written")
}

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    let git = Repository::init_bare(dir.path().join("repo.git")).expect("init");
    git2::opts::strict_object_creation(false);
    // From `out/pservers/alpha/etc`: a directory that is there.
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    let blob = git.blob(b"../../../../outside").expect("blob");
    let inner = tree(&git, &[(b"100644 file", blob)]);
    let heads = data.split(|byte| *byte == 0).filter(|head| !head.is_empty());
    let entries: Vec<(&[u8], Oid)> = heads
        .map(|head| (head, if head.starts_with(b"40000 ") { inner } else { blob }))
        .collect();
    let etc = tree(&git, &entries);
    let host_toml = git.blob(b"version = 1\n").expect("blob");
    let host = tree(&git, &[(b"40000 etc", etc), (b"100644 host.toml", host_toml)]);
    let hosts = tree(&git, &[(b"40000 alpha", host)]);
    let root = tree(&git, &[(b"40000 pservers", hosts)]);
    let Ok(root) = git.find_tree(root) else {
        return;
    };
    let who = Signature::now("x", "x@example.net").expect("who");
    let commit = git.commit(None, &who, &who, "x", &root, &[]).expect("commit").to_string();

    let repo = Repo::open(&dir.path().join("repo.git")).expect("open");
    let out = dir.path().join("out");
    if let Ok(mut export) = Export::new(&repo, &commit) {
        let _ = export.slice(&"alpha".parse().expect("a name"), &out);
    }
    let _ = repo.documents(&commit);
    // The same tree where that of a target should be.
    let repo = Repo::open(&dir.path().join("repo.git")).expect("open");
    if let Ok(root) = git.find_tree(etc) {
        let odd = git.commit(None, &who, &who, "x", &root, &[]).expect("commit").to_string();
        let _ = (repo.statement(&odd), repo.chain(&odd));
    }
    let names = fs::read_dir(dir.path()).expect("listed");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    assert!(names.into_iter().all(|name| name == "repo.git" || name == "out" || name == "outside"));
    assert_eq!(fs::read_dir(&outside).expect("listed").count(), 0);
});
