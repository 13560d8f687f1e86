// SPDX-License-Identifier: GPL-3.0-or-later
//! What is in a config disk, and that the same commit gives the same one.

use std::io::Read;
use std::os::unix::fs::symlink;

use domus_model::guest::{GuestMount, Mounted};

use super::*;

fn guest() -> GuestConfig {
    GuestConfig {
        version: 1,
        fleet: "example".parse().expect("fleet"),
        name: "web".parse().expect("name"),
        image: "base@1".parse().expect("image"),
        commit: "8c1d02e".into(),
        health: None,
        vars: Default::default(),
        mounts: vec![GuestMount {
            device: "xvdc".into(),
            path: "/srv".into(),
            fs: Mounted::default(),
        }],
        swap: Vec::new(),
    }
}

/// A slice whose files are made in the order of `files`.
fn slice(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("dir");
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(&path, file).expect("write");
    }
    let script = dir.path().join("vservers/web/etc/run");
    fs::set_permissions(script, fs::Permissions::from_mode(0o700)).expect("chmod");
    symlink("/config/global/hosts", dir.path().join("global/etc/hosts")).expect("link");
    dir
}

const FILES: [&str; 5] = [
    "global/hosts",
    "global/etc/motd",
    "vservers/web/etc/run",
    "vservers/web/etc/a-name-that-is-longer-than-the-hundred-bytes-which-the-header-of-a-tar-archive-has-for-it-so-that-another-entry-is-needed",
    "vservers/db/etc/motd",
];

#[test]
fn it_holds_the_document_global_and_the_domus_own_tree() {
    let slice = slice(&FILES);
    let bytes = archive(slice.path(), &guest(), &[]).expect("archive");
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("entry");
        let header = entry.header();
        assert_eq!(header.mtime().ok(), Some(0));
        assert_eq!((header.uid().ok(), header.gid().ok()), (Some(0), Some(0)));
        let mode = header.mode().expect("mode");
        let path = entry.path().expect("path").display().to_string();
        let link = entry
            .link_name()
            .expect("link")
            .map(|target| target.display().to_string());
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("read");
        if path == GUEST_DOCUMENT {
            assert_eq!(
                serde_json::from_str::<GuestConfig>(&text).expect("json"),
                guest()
            );
            text.clear();
        }
        let content = link.map_or(text, |target| format!("-> {target}"));
        found.push((path.trim_end_matches('/').to_owned(), mode, content));
    }
    let long = FILES[3];
    let expected = [
        ("domu.json", 0o644, ""),
        ("global", 0o755, ""),
        ("global/etc", 0o755, ""),
        ("global/etc/hosts", 0o777, "-> /config/global/hosts"),
        ("global/etc/motd", 0o644, "global/etc/motd"),
        ("global/hosts", 0o644, "global/hosts"),
        ("vservers/web", 0o755, ""),
        ("vservers/web/etc", 0o755, ""),
        (long, 0o644, long),
        ("vservers/web/etc/run", 0o755, "vservers/web/etc/run"),
    ];
    let expected = expected.map(|(path, mode, text)| (path.to_owned(), mode, text.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn the_same_commit_gives_the_same_bytes() {
    let mut reversed = FILES;
    reversed.reverse();
    let (one, two) = (slice(&FILES), slice(&reversed));
    let bytes = |dir: &tempfile::TempDir| archive(dir.path(), &guest(), &[]).expect("archive");
    assert_eq!(bytes(&one), bytes(&two));
}

#[test]
fn a_domu_with_nothing_of_its_own_gets_its_document() {
    let dir = tempfile::tempdir().expect("dir");
    let bytes = archive(dir.path(), &guest(), &[]).expect("archive");
    assert_eq!(
        tar::Archive::new(bytes.as_slice())
            .entries()
            .expect("entries")
            .count(),
        1
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let slice = slice(&FILES);
    let _socket = std::os::unix::net::UnixListener::bind(slice.path().join("global/socket"));
    let error = archive(slice.path(), &guest(), &[]).expect_err("a socket");
    assert_eq!(
        error.to_string(),
        "adding global/socket: it is no file, directory or link"
    );
}
