// SPDX-License-Identifier: GPL-3.0-or-later
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use git2::{ObjectType, Oid, Repository};
use tempfile::TempDir;

use super::*;
use crate::open::LARGEST_TREE;

/// A repository with objects that are alike, and whose are the ids.
struct Place {
    dir: TempDir,
    ids: Vec<Id>,
}

impl Place {
    /// The objects are in one pack, made by `git pack-objects` with these arguments.
    fn new(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let git = Repository::init_bare(dir.path()).expect("init");
        let objects = git.odb().expect("objects");
        let mut ids = Vec::new();
        let mut add = |kind, content: &[u8]| {
            let id = objects.write(kind, content).expect("written");
            ids.push(Id::try_from(id.as_bytes()).expect("20 bytes"));
            id
        };
        let mut tree = Vec::new();
        for number in 0..300 {
            let name = format!("file-{number:03}");
            // What compresses badly, so that git finds a difference worth it.
            let noise: String = (0..40).map(|i| format!("{:x}", i * i * 7919 + i)).collect();
            let blob = add(
                ObjectType::Blob,
                format!("{noise}\nname = {name}\n{}", "x".repeat(number * 7)).as_bytes(),
            );
            tree.extend_from_slice(format!("100644 {name}\0").as_bytes());
            tree.extend_from_slice(blob.as_bytes());
            add(ObjectType::Tree, &tree);
        }
        add(ObjectType::Blob, b"");
        // More than bytes of one part of a difference can say.
        add(ObjectType::Blob, &vec![b'y'; 200_000]);
        add(ObjectType::Blob, &[&vec![b'y'; 200_000][..], b"z"].concat());
        let place = Self { dir, ids };
        place.pack(arguments);
        place
    }

    fn pack(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.dir.path()).arg("pack-objects");
        git.args(["-q", "--window=20"]).args(arguments);
        git.arg("objects/pack/pack")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut git = git.spawn().expect("git runs");
        let mut input = git.stdin.take().expect("its input");
        for id in &self.ids {
            writeln!(input, "{}", Oid::from_bytes(id).expect("an id")).expect("written");
        }
        drop(input);
        assert!(git.wait().expect("git ends").success());
    }

    fn packs(&self) -> Packs {
        Packs::open(&self.dir.path().join("objects"))
    }

    /// The file in `objects/pack` with this ending, which may be written to.
    fn file(&self, ending: &str) -> PathBuf {
        let files = fs::read_dir(self.dir.path().join("objects/pack")).expect("listed");
        let mut files = files.map(|file| file.expect("a file").path());
        let file = files.find(|file| file.extension().is_some_and(|it| it == ending));
        let file = file.expect("it is there");
        let mut permissions = fs::metadata(&file).expect("metadata").permissions();
        #[allow(clippy::permissions_set_readonly_false)]
        permissions.set_readonly(false);
        fs::set_permissions(&file, permissions).expect("set");
        file
    }

    fn expected(&self, id: &Id) -> (ObjectType, Vec<u8>) {
        let git = Repository::open(self.dir.path()).expect("a repository");
        let objects = git.odb().expect("objects");
        let object = objects
            .read(Oid::from_bytes(id).expect("an id"))
            .expect("there");
        (object.kind(), object.data().to_vec())
    }
}

#[test]
fn objects_are_what_libgit2_reads() {
    let ways: [&[&str]; 4] = [
        &["--depth=0"],
        &["--depth=50", "--delta-base-offset"],
        // By the ids of what they are differences to.
        &["--depth=50"],
        &["--depth=50", "--delta-base-offset", "--index-version=2,0"],
    ];
    for way in ways {
        let place = Place::new(way);
        let mut packs = place.packs();
        for id in place.ids.iter().chain(place.ids.iter().rev()) {
            let (kind, content) = packs.read(id, LARGEST_TREE).expect("it is packed");
            let kind = match kind {
                Kind::Tree => ObjectType::Tree,
                Kind::Blob => ObjectType::Blob,
                Kind::Commit => ObjectType::Commit,
                Kind::Tag => ObjectType::Tag,
            };
            assert_eq!((kind, content), place.expected(id), "{way:?}");
        }
        assert!(packs.read(&[0xab; 20], LARGEST_TREE).is_none());
    }
}

#[test]
fn what_is_too_long_is_not_read() {
    let place = Place::new(&["--depth=50", "--delta-base-offset"]);
    for id in &place.ids {
        let (_, content) = place.expected(id);
        let read = |most| place.packs().read(id, most).map(|(_, content)| content);
        // What is a difference to something large that is longer still is left to libgit2.
        let is_left = content.len() > LARGEST_KEPT && read(content.len()).is_none();
        assert!(is_left || read(content.len()).as_deref() == Some(&content[..]));
        if let Some(less) = content.len().checked_sub(1) {
            assert_eq!(read(less), None);
        }
    }
}

#[test]
fn chains_without_end_are_left_to_others() {
    let place = Place::new(&["--depth=250", "--window=400", "--delta-base-offset"]);
    let mut packs = place.packs();
    let read = |id: &&Id| packs.read(id, LARGEST_TREE).is_some();
    // Those near to one that is whole are read.
    assert!(place.ids.iter().filter(read).count() > DEEPEST);
}

#[test]
fn damaged_packs_do_no_harm() {
    let place = Place::new(&["--depth=50", "--delta-base-offset"]);
    for (ending, step) in [("pack", 97), ("idx", 61)] {
        let path = place.file(ending);
        let whole = fs::read(&path).expect("read");
        for at in (0..whole.len()).step_by(step) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            // A new file, as whoever has mapped the old one still reads that.
            fs::remove_file(&path).expect("removed");
            fs::write(&path, &damaged).expect("written");
            let mut packs = place.packs();
            for id in place.ids.iter().step_by(7) {
                if let Some((_, content)) = packs.read(id, LARGEST_TREE) {
                    assert!(content.len() <= LARGEST_TREE);
                }
            }
        }
        for length in [0, 7, 8, 1031, whole.len() / 2] {
            fs::remove_file(&path).expect("removed");
            fs::write(&path, &whole[..length.min(whole.len())]).expect("written");
            let mut packs = place.packs();
            place
                .ids
                .iter()
                .for_each(|id| drop(packs.read(id, LARGEST_TREE)));
        }
        fs::write(&path, &whole).expect("written");
    }
}

#[cfg(feature = "remotes")]
#[test]
fn what_comes_is_read_in_parts_of_any_length() {
    for way in [&["--depth=50", "--delta-base-offset"][..], &["--depth=50"]] {
        let place = Place::new(way);
        let pack = fs::read(place.file("pack")).expect("read");
        for part in [1, 7, 4096, pack.len()] {
            assert!(Incoming::takes(pack.chunks(part)), "{way:?} {part}");
            assert!(!Incoming::takes(pack[..pack.len() / 2].chunks(part)));
        }
        // The first object is another.
        let mut damaged = pack.clone();
        damaged[20] ^= 0x55;
        assert!(!Incoming::takes([&damaged[..]]));
    }
}

#[cfg(feature = "remotes")]
#[test]
fn what_says_that_it_is_huge_is_refused_before_it_is_unpacked() {
    // `KIND SIZE`, the lowest four bits of it first, then seven in each byte.
    let takes = |kind: u8, mut size: u64| {
        let mut pack = start(1);
        pack.push(kind << 4 | (size & 15) as u8 | 0x80);
        size >>= 4;
        while size >= 0x80 {
            pack.push(size as u8 | 0x80);
            size >>= 7;
        }
        pack.push(size as u8);
        if kind > 4 {
            pack.extend([0; 64]);
        }
        Incoming::accepts(&pack)
    };
    assert!(takes(1, 1 << 20) && !takes(1, 1 << 21), "a commit");
    assert!(takes(2, 64 << 20) && !takes(2, 65 << 20), "a tree");
    assert!(takes(3, 1 << 30) && !takes(3, 1 << 33), "a file");
    assert!(!takes(4, 1 << 21) && !takes(7, 1 << 30) && !takes(5, 1));
}
