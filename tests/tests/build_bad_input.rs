// SPDX-License-Identifier: GPL-3.0-or-later
//! Bad documents, bad ISOs and missing tools: each is named, and nothing is built.

use domus_tests::disks::{cut, poke};
use domus_tests::fleet::Fleet;
use domus_tests::iso9660::{DESCRIPTOR, Extent, Image, SECTOR};
use domus_tests::ran::Ran;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

fn home() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

const WEB: &str = "pservers/alpha/domUs/web.toml";

/// A bad fleet: what it is called, how it is made, what is said, and where.
type Case = (&'static str, fn(&Fleet), &'static str, &'static str);

const CASES: &[Case] = &[
    (
        "an unknown key",
        |fleet| fleet.change(WEB, "memory  =", "memry   ="),
        "unknown key \"memry\"",
        "pservers/alpha/domUs/web.toml:3:1",
    ),
    (
        "a wrong unit",
        |fleet| fleet.change(WEB, "\"192MiB\"", "\"256MBB\""),
        "\"256MBB\" is no size",
        "pservers/alpha/domUs/web.toml:3:11",
    ),
    (
        "one MAC twice",
        |fleet| fleet.change(WEB, "00:16:3e:5a:01:07", "00:16:3e:77:20:b1"),
        "two network cards with one MAC address",
        "pservers/alpha/domUs/web.toml:7:10",
    ),
    (
        "an image without a recipe",
        |fleet| fleet.change(WEB, "base@1", "web@1"),
        "there is no recipe for web",
        "pservers/alpha/domUs/web.toml:2:11",
    ),
    (
        "a domU's file that is not TOML",
        |fleet| fleet.write(WEB, "web runs nginx\n"),
        "this is not TOML",
        "pservers/alpha/domUs/web.toml:1:5",
    ),
    (
        "a host's directory whose name is no host name",
        |fleet| rename(fleet, "pservers/alpha", "pservers/Alpha_2"),
        "the host's directory is called \"Alpha_2\", no host name",
        "pservers/Alpha_2/host.toml",
    ),
    (
        "a domU's file whose name is no host name",
        |fleet| rename(fleet, WEB, "pservers/alpha/domUs/Web Server.toml"),
        "the domU's file is called \"Web Server\", no host name",
        "pservers/alpha/domUs/Web Server.toml",
    ),
];

fn rename(fleet: &Fleet, from: &str, to: &str) {
    fs::rename(fleet.dir.join(from), fleet.dir.join(to)).expect("a new name");
}

#[test]
fn bad_documents_are_refused_with_their_place_and_nothing_is_built() {
    for (what, spoil, message, place) in CASES {
        let home = home();
        let fleet = Fleet::new(home.path());
        spoil(&fleet);
        fleet.commit();
        let place = format!("┌─ {place}");
        let check = fleet.domus(&["check"]).exits(1);
        for text in [*message, &place] {
            assert!(
                check.stdout.contains(text),
                "{what}: no {text:?}: {check:?}"
            );
        }
        for command in [
            &["image", "build", "base"][..],
            &["iso", "build", "--unsigned"],
            &["rehearse", "alpha"],
            &["rehearse", "alpha", "--json"],
        ] {
            let refused = fleet.domus(command).exits(1);
            let refused = refused.complains(&[message, &place, "nothing was done"]);
            assert_eq!(refused.stdout, "", "{what}: {command:?}");
            assert!(!fleet.dir.join("build").exists(), "{what}: {command:?}");
        }
    }
}

/// An ISO that is spoilt, looked at, and mended again.
struct Spoilt {
    fleet: Fleet,
    path: PathBuf,
}

impl Spoilt {
    fn new(home: &Path) -> Self {
        let fleet = Fleet::new(home);
        fleet.domus(&["iso", "build", "--unsigned"]).exits(0);
        let path = fleet.iso();
        Self { fleet, path }
    }

    fn verify(&self) -> Ran {
        self.fleet
            .domus(&["iso", "verify", &self.path.display().to_string()])
    }

    /// What `verify` says while the byte at `place` is another.
    fn flipped(&self, place: u64) -> Ran {
        let mut byte = [0];
        let file = File::open(&self.path).expect("the ISO");
        file.read_exact_at(&mut byte, place).expect("a byte");
        poke(&self.path, place, &[byte[0] ^ 0x10]);
        let ran = self.verify();
        poke(&self.path, place, &byte);
        ran
    }
}

#[test]
fn one_flipped_byte_of_a_file_is_found_and_the_file_named() {
    let home = home();
    let iso = Spoilt::new(home.path());
    let extents = Image::open(&iso.path).extents();
    let is_listed = |extent: &&Extent| {
        !extent.directory && !["DOMUS/MANIFEST", "BOOT/BOOT.CAT"].contains(&&*extent.path)
    };
    let files: Vec<&Extent> = extents.iter().filter(is_listed).collect();
    assert_eq!(files.len(), 7, "{files:?}");
    for extent in files {
        for place in [0, extent.size / 2, extent.size - 1] {
            let found = iso.flipped(extent.start + place).exits(1);
            let found = found.complains(&["is damaged", &format!("  {}: SHA-256 is", extent.path)]);
            assert_eq!(found.stdout, "");
            let named = found.stderr.matches("SHA-256 is").count();
            assert_eq!(named, 1, "only what differs is named: {found:?}");
        }
    }
    iso.verify().exits(0);
}

#[test]
fn one_flipped_byte_around_the_files_is_found() {
    let home = home();
    let iso = Spoilt::new(home.path());
    let extents = Image::open(&iso.path).extents();
    let extent = |path: &str| {
        let found = extents.iter().find(|extent| extent.path == path);
        found.unwrap_or_else(|| panic!("no {path}"))
    };
    let end = fs::metadata(&iso.path).expect("the ISO").len();
    let menu = extent("BOOT/GRUB.CFG");
    let manifest = extent("DOMUS/MANIFEST");
    let structures = [
        ("boot code of the MBR", 0x20),
        ("its partition table", 446 + 8),
        ("the GPT's header", 512 + 24),
        ("the volume identifier", DESCRIPTOR + 40),
        ("the volume set identifier", DESCRIPTOR + 190),
        ("the time of the volume", DESCRIPTOR + 813),
        ("the seal", DESCRIPTOR + 883 + 30),
        ("the seal's blank rest", DESCRIPTOR + 883 + 400),
        ("the boot record", DESCRIPTOR + SECTOR + 0x47),
        ("the boot catalogue", extent("BOOT/BOOT.CAT").start + 40),
        ("slack after a file", menu.start + menu.size),
        ("the end of the image", end - 1),
    ];
    for (what, place) in structures {
        let found = iso.flipped(place);
        assert_eq!(found.code, Some(1), "{what} at {place}: {found:?}");
        assert_eq!(found.stdout, "", "{what}");
    }
    // What the reader itself steps through must not make it fall: an error, whatever it says.
    let directory = extent("");
    let records = (0..34).map(|byte| DESCRIPTOR + 156 + byte);
    let records = records.chain((68..180).step_by(3).map(|byte| directory.start + byte));
    let manifests =
        (0..manifest.size).step_by(1 + usize::try_from(manifest.size / 40).expect("small"));
    for place in records.chain(manifests.map(|byte| manifest.start + byte)) {
        let found = iso.flipped(place);
        assert_eq!(found.code, Some(1), "byte {place}: {found:?}");
        assert!(
            !found.stderr.contains("panicked"),
            "byte {place}: {found:?}"
        );
    }
    iso.verify().exits(0);
}

#[test]
fn what_is_no_whole_iso_is_refused() {
    let home = home();
    let iso = Spoilt::new(home.path());
    let size = fs::metadata(&iso.path).expect("the ISO").len();
    for bytes in [size - 1, size / 2, DESCRIPTOR + SECTOR, DESCRIPTOR, 100, 0] {
        cut(&iso.path, bytes);
        let refused = iso.verify();
        assert_eq!(refused.code, Some(1), "{bytes} bytes: {refused:?}");
        assert!(!refused.stderr.contains("panicked"), "{refused:?}");
        let rehearse = iso.fleet.domus(&["rehearse", "alpha"]);
        assert_eq!(rehearse.code, Some(1), "{bytes} bytes: {rehearse:?}");
        assert!(
            !iso.fleet.dir.join("build/rehearse").exists(),
            "{bytes} bytes"
        );
    }
    let text = home.path().join("text.iso");
    fs::write(&text, "no ISO\n".repeat(10_000)).expect("a file");
    let missing = home.path().join("missing.iso");
    for (path, why) in [
        (&text, "it is no ISO 9660 image"),
        (&missing, "No such file"),
        (&home.path().to_owned(), "Is a directory"),
    ] {
        let path = path.display().to_string();
        let refused = iso.fleet.domus(&["iso", "verify", &path]).exits(1);
        refused.complains(&[&path, why]);
    }
}

/// A directory of links to every program of this machine but `program`.
fn path_without(home: &Path, program: &str) -> PathBuf {
    let dir = home.join("path");
    fs::create_dir(&dir).expect("a directory");
    for from in ["/usr/bin", "/usr/sbin"] {
        for entry in fs::read_dir(from).expect("programs").flatten() {
            if entry.file_name() != program {
                // The same name may be in both.
                let _ = symlink(entry.path(), dir.join(entry.file_name()));
            }
        }
    }
    assert!(dir.join("sh").exists());
    dir
}

#[test]
fn a_missing_mmdebstrap_is_named_with_its_package() {
    let home = home();
    let fleet = Fleet::new(home.path());
    let path = path_without(home.path(), "mmdebstrap");
    for args in [
        &["image", "build", "base"][..],
        &["iso", "build", "--unsigned"],
    ] {
        let mut command = fleet.command();
        let cache = home.path().join("cache");
        command
            .args(args)
            .env("PATH", &path)
            .env("DOMUS_CACHE", &cache);
        let refused = Ran::of(&mut command, Duration::from_secs(60)).exits(1);
        refused.complains(&["mmdebstrap is missing", "`apt-get install mmdebstrap`"]);
        assert!(!fleet.dir.join("build").exists());
    }
}

#[test]
fn a_missing_qemu_is_named_with_its_package() {
    let home = home();
    let fleet = Fleet::new(home.path());
    fleet.build();
    let path = path_without(home.path(), "qemu-system-x86_64");
    let mut command = fleet.command();
    command.args(["rehearse", "alpha"]).env("PATH", &path);
    let refused = Ran::of(&mut command, Duration::from_secs(60)).exits(1);
    refused.complains(&[
        "qemu-system-x86_64 is missing",
        "`apt-get install qemu-system-x86`",
    ]);
    assert!(!fleet.dir.join("build/rehearse").exists());
}
