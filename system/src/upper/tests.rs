// SPDX-License-Identifier: GPL-3.0-or-later
//! What was changed, by what an overlay leaves in its upper directory.

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use tempfile::TempDir;

use super::*;

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn whiteout(&self, path: &str) {
        let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
        mknodat(CWD, self.at(path), kind, mode, WHITEOUT).expect("a whiteout");
    }

    fn opaque(&self, path: &str) {
        fs::create_dir_all(self.at(path)).expect("made");
        let flags = XattrFlags::empty();
        lsetxattr(self.at(path), OPAQUE, b"y", flags).expect("an attribute");
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).expect("changed");
    }
}

/// An image, one layer over it, and what was changed.
fn sample() -> (Tree, Upper) {
    let tree = Tree::new();
    for path in [
        "motd",
        "same",
        "touched",
        "ssh/config",
        "gone/a",
        "replaced/a",
        "hidden/a",
    ] {
        tree.write(&format!("image/{path}"), path);
    }
    tree.write("layer/motd", "layer");
    tree.opaque("layer/hidden");
    tree.write("upper/motd", "changed");
    tree.write("upper/same", "same");
    tree.write("upper/touched", "touched");
    tree.mode("upper/touched", 0o600);
    tree.write("upper/new/deep/file", "new");
    tree.opaque("upper/new");
    tree.opaque("upper/replaced");
    tree.write("upper/replaced/b", "b");
    fs::create_dir(tree.at("upper/ssh")).expect("made");
    tree.mode("upper/ssh", 0o700);
    tree.whiteout("upper/gone");
    tree.whiteout("upper/never-was");
    tree.write("upper/hidden/x", "x");
    symlink("motd", tree.at("upper/link")).expect("a link");
    let lower = Lower(["layer", "image"].map(|name| tree.at(name)).to_vec());
    let directory = tree.at("upper");
    (tree, Upper { directory, lower })
}

#[test]
fn what_is_as_below_was_not_changed() {
    let (_tree, upper) = sample();
    let changed: Vec<String> = upper.changed().expect("readable").into_iter().collect();
    let expected = [
        "gone",
        "hidden/x",
        "link",
        "motd",
        "new/deep/file",
        "replaced",
        "touched",
    ];
    assert_eq!(changed, expected);
}

#[test]
fn lower_directories_are_seen_through_each_other() {
    let (tree, upper) = sample();
    let find = |path: &str| upper.lower.find(path).map(|(at, _)| at);
    assert_eq!(find("motd"), Some(tree.at("layer/motd")));
    assert_eq!(find("ssh/config"), Some(tree.at("image/ssh/config")));
    assert_eq!(find("hidden/a"), None, "the layer has it without");
    assert_eq!(find("motd/x"), None);
    assert_eq!(find("nothing"), None);
}

#[test]
fn what_was_changed_is_taken_over_as_it_is() {
    let (tree, upper) = sample();
    chown(tree.at("upper/motd"), Some(7), Some(8)).expect("given away");
    tree.mode("upper/motd", 0o640);
    let target = tree.at("to");
    fs::create_dir(&target).expect("made");
    // The commit's layer has another mode for a directory that nobody changed.
    tree.write("next/new/deep/other", "x");
    tree.mode("next/new/deep", 0o750);
    let lower = Lower(["next", "image"].map(|name| tree.at(name)).to_vec());
    let leave = ["touched".to_owned()].into();
    upper.carry(&target, &lower, &leave).expect("carried");
    let meta = |path: &str| tree.at("to").join(path).symlink_metadata();
    let motd = meta("motd").expect("carried");
    assert_eq!(
        (motd.uid(), motd.gid(), motd.mode() & 0o7777),
        (7, 8, 0o640)
    );
    let from = tree.at("upper/motd").metadata().expect("there");
    assert_eq!(
        (motd.mtime(), motd.mtime_nsec()),
        (from.mtime(), from.mtime_nsec())
    );
    for absent in ["same", "touched", "never-was"] {
        assert!(meta(absent).is_err(), "{absent}");
    }
    assert!(is_whiteout(&meta("gone").expect("carried")));
    assert!(is_opaque(&tree.at("to/replaced")) && !is_opaque(&tree.at("to/new")));
    assert_eq!(fs::read(tree.at("to/replaced/b")).expect("carried"), b"b");
    assert_eq!(
        fs::read_link(tree.at("to/link")).expect("carried"),
        Path::new("motd")
    );
    assert_eq!(meta("ssh").expect("carried").mode() & 0o7777, 0o700);
    assert_eq!(meta("new/deep").expect("carried").mode() & 0o7777, 0o750);

    // What was carried is what was changed, over the same again.
    let again = Upper {
        directory: target,
        lower: upper.lower.clone(),
    };
    let mut expected = upper.changed().expect("readable");
    expected.remove("touched");
    assert_eq!(again.changed().expect("readable"), expected);
}

#[test]
fn what_is_changed_meanwhile_is_followed() {
    let (tree, upper) = sample();
    let before = upper.state().expect("readable");
    // What is mounted by then, with what was carried.
    tree.write("now/motd", "changed");
    tree.write("now/ssh/config", "of the commit");
    tree.write("now/same", "of the commit");
    let now = tree.at("now");
    upper.follow(&before, &now).expect("nothing to do");
    let read = |path: &str| fs::read_to_string(now.join(path)).ok();
    assert_eq!(read("motd").as_deref(), Some("changed"));
    assert_eq!(read("link"), None, "it was there before");

    fs::remove_file(tree.at("upper/motd")).expect("removed");
    tree.write("upper/motd", "changed again");
    tree.whiteout("upper/ssh/config");
    tree.write("upper/made/now", "made");
    upper.follow(&before, &now).expect("followed");
    assert_eq!(read("motd").as_deref(), Some("changed again"));
    assert_eq!(read("made/now").as_deref(), Some("made"));
    assert_eq!(read("ssh/config"), None);
    assert_eq!(read("same").as_deref(), Some("of the commit"));
}

#[test]
fn what_was_removed_shows_again_and_what_was_written_stays() {
    let tree = Tree::new();
    tree.write("upper/lib/dpkg/status", "written");
    tree.whiteout("upper/lib/gone");
    tree.opaque("upper/lib/replaced/below");
    tree.write("upper/lib/replaced/below/new", "written");
    restore_removed(&tree.at("upper")).expect("restored");
    assert!(tree.at("upper/lib/gone").symlink_metadata().is_err());
    assert!(!is_opaque(&tree.at("upper/lib/replaced/below")));
    for path in ["lib/dpkg/status", "lib/replaced/below/new"] {
        let text = fs::read_to_string(tree.at("upper").join(path)).expect("a file");
        assert_eq!(text, "written", "{path}");
    }
}
