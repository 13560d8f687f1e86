// SPDX-License-Identifier: GPL-3.0-or-later
//! Building images and the ISO as an operator meets it: what is built, what is refused, and what
//! is left when a build is stopped.

use domus_model::schema::Vocabulary;
use domus_system::digest;
use domus_tests::fleet::{self, Fleet};
use domus_tests::iso9660::{DESCRIPTOR, Image};
use domus_tests::ran::Ran;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const IMAGE: &[&str] = &["image", "build", "base"];
const ISO: &[&str] = &["iso", "build", "--unsigned"];
/// What the benchmarks promise of an ISO, in bytes.
const LARGEST_ISO: u64 = 200 << 20;

fn home() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The files of a manifest: size and SHA-256 by name.
fn files(manifest: &Value) -> BTreeMap<String, (u64, String)> {
    let files = manifest["files"].as_object().expect("files");
    let entry = |entry: &Value| {
        let digest = entry["sha256"].as_str().expect("a digest").to_owned();
        (entry["size"].as_u64().expect("a size"), digest)
    };
    let named = files.iter().map(|(name, file)| (name.clone(), entry(file)));
    named.collect()
}

/// Whom an ISO names as its publisher (ECMA-119, 8.4.20).
fn publisher(iso: &Path) -> String {
    let mut field = [0; 128];
    let iso = fs::File::open(iso).expect("an ISO");
    let read = iso.read_exact_at(&mut field, DESCRIPTOR + 318);
    read.expect("a descriptor");
    String::from_utf8_lossy(&field).trim_end().to_owned()
}

fn listed(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn an_image_is_built_once_and_its_manifest_is_true() {
    let home = home();
    let fleet = Fleet::new(home.path());
    let report = fleet.domus(&[IMAGE, &["--json"]].concat()).exits(0).json();
    assert_eq!(report["unchanged"], false);
    let manifest = &report["manifest"];
    assert_eq!(manifest["image"], "base@1");
    assert_eq!(manifest["suite"], "trixie");
    let packages = manifest["packages"].as_object().expect("packages");
    for package in ["systemd", "iproute2", "procps"] {
        assert!(packages.contains_key(package), "no {package}");
    }

    let dir = fleet.dir.join("build/images/base@1");
    assert_eq!(
        listed(&dir),
        ["initrd.img", "manifest.json", "root.img", "vmlinux"]
    );
    assert_eq!(listed(dir.parent().expect("a parent")), ["base@1"]);
    let text = fs::read_to_string(dir.join("manifest.json")).expect("a manifest");
    let kept: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(kept, *manifest);
    let files = files(manifest);
    assert_eq!(files.len(), 3);
    for (name, (size, sha256)) in files {
        let path = dir.join(&name);
        assert_eq!(fs::metadata(&path).expect("a file").len(), size, "{name}");
        assert_eq!(digest::of_file(&path).expect("a digest"), sha256, "{name}");
    }

    let inode = |name: &str| fs::metadata(dir.join(name)).expect("a file").ino();
    let before = (inode("root.img"), inode("manifest.json"));
    let again = fleet.domus(IMAGE).exits(0);
    assert!(
        again.stdout.starts_with("base@1   unchanged   "),
        "{again:?}"
    );
    let report = fleet.domus(&[IMAGE, &["--json"]].concat()).exits(0).json();
    assert_eq!(report["unchanged"], true);
    assert_eq!((inode("root.img"), inode("manifest.json")), before);
    assert_eq!(
        fleet.git(&["status", "--porcelain"]),
        "?? domus.lock\n?? locked/",
        "what the name stands for"
    );
    let digest = digest::of_file(&dir.join("manifest.json")).expect("a digest");
    let list = fs::read_to_string(fleet.dir.join("locked/base@1.etc")).expect("a list");
    for path in ["cron.daily/apt-compat", "pam.d/", "systemd/system/"] {
        assert!(list.lines().any(|line| line == path), "{path}: {list}");
    }
    let lock = || fs::read_to_string(fleet.dir.join("domus.lock")).expect("a lock");
    assert!(lock().contains(&format!("\"base@1\" = \"sha256:{digest}\"")));

    // A revision stands for one image.
    let locked = lock().replace(&digest, &"0".repeat(64));
    fs::write(fleet.dir.join("domus.lock"), &locked).expect("written");
    let refused = fleet.domus(IMAGE).exits(3);
    refused.complains(&["base@1 is locked to another digest", &digest, "--relock"]);
    assert_eq!(lock(), locked);
    fleet.domus(&[IMAGE, &["--relock"]].concat()).exits(0);
    assert!(lock().contains(&digest));
}

#[test]
fn an_iso_is_built_once_and_its_manifest_is_true() {
    let home = home();
    let fleet = Fleet::new(home.path());
    let report = fleet.domus(&[ISO, &["--json"]].concat()).exits(0).json();
    let path = fleet.iso();
    assert_eq!(report["unchanged"], false);
    assert_eq!(report["path"], path.display().to_string());
    let size = fs::metadata(&path).expect("an ISO").len();
    assert_eq!(report["size"], size);
    assert!(size <= LARGEST_ISO, "{size} bytes");
    assert_eq!(listed(&fleet.dir.join("build")), ["domus-example-1.iso"]);

    let file = path.display().to_string();
    let verified = fleet.domus(&["iso", "verify", "--json", &file]).exits(0);
    let manifest = verified.json();
    assert_eq!(manifest, report["manifest"]);
    let payload = &manifest["payload"];
    assert_eq!(
        (&payload["fleet"], &payload["release"]),
        (&"example".into(), &"1".into())
    );
    assert_eq!(
        (&payload["unsigned"], &payload["suite"]),
        (&true.into(), &"trixie".into())
    );
    let text = fleet.domus(&["iso", "verify", &file]).exits(0).stdout;
    assert!(
        text.contains("of fleet example   unsigned   whole: "),
        "{text}"
    );

    // By the standard's own layout, not by the code that verifies.
    let image = Image::open(&path);
    let mut found = BTreeMap::new();
    for extent in image
        .extents()
        .into_iter()
        .filter(|extent| !extent.directory)
    {
        let sha256 = digest::of_bytes(image.read(&extent.path));
        found.insert(extent.path, (extent.size, sha256));
    }
    assert!(found.remove("DOMUS/MANIFEST").is_some());
    // Where firmware finds the boot images: written by xorriso, under the seal.
    assert!(found.remove("BOOT/BOOT.CAT").is_some());
    assert_eq!(found, files(&manifest));
    let id = manifest["id"].as_str().expect("an id");
    for (name, part) in payload["parts"].as_object().expect("parts") {
        let digest = if name == "BOOT/GRUB.CFG" {
            // Its menu names the id, which is a digest of the parts: the part is of the rest.
            let menu = String::from_utf8(image.read(name)).expect("text");
            assert!(menu.contains(&format!("domus.release={id} ")), "{menu}");
            digest::of_bytes(menu.replace(id, "").trim_end_matches('\n'))
        } else {
            found[name].1.clone()
        };
        assert_eq!(*part, digest, "{name}");
    }

    // Which certificate it is signed for: none.
    assert_eq!(publisher(&path), "NOBODY");

    let inode = || fs::metadata(&path).expect("an ISO").ino();
    let before = inode();
    let again = fleet.domus(ISO).exits(0).stdout;
    assert!(again.contains("   unsigned   unchanged   "), "{again}");
    assert_eq!(inode(), before);

    let lock = || fs::read_to_string(fleet.dir.join("domus.lock")).expect("a lock");
    assert!(lock().contains(&format!("[releases]\n\"1\" = \"sha256:{id}\"")));
    let reads = fs::read_to_string(fleet.dir.join("locked/1.schema")).expect("a file");
    assert_eq!(reads, Vocabulary::of_this_domus().render());
    let locked = lock().replace(id, &"0".repeat(64));
    fs::write(fleet.dir.join("domus.lock"), &locked).expect("written");
    let refused = fleet.domus(ISO).exits(3);
    refused.complains(&["release 1 is locked to another digest", id, "--relock"]);
    fleet.domus(&[ISO, &["--relock"]].concat()).exits(0);
    assert!(lock().contains(id));
}

/// A cache with nothing but the Debian trees and tools of this machine's: all else is made again.
fn cache_of_trees(to: &Path) {
    for kind in ["debian", "tools"] {
        symlink(fleet::cache().join(kind), to.join(kind)).expect("a link");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_wherever_and_however() {
    let (first, second) = (home(), home());
    let [one, two] = [&first, &second].map(|home| Fleet::new(home.path()));
    one.build();
    let out = second.path().join("elsewhere/other.iso");
    let (cache, tmp) = (second.path().join("cache"), second.path().join("tmp"));
    for dir in [&cache, &tmp] {
        fs::create_dir(dir).expect("a directory");
    }
    cache_of_trees(&cache);
    let build = |args: &[&str]| {
        // What differs between two operators: places, time zone, language, mask.
        let umask = "umask 077; exec \"$0\" \"$@\"";
        let mut command = assert_cmd::Command::new("sh");
        command
            .args(["-c", umask])
            .arg(domus_tests::shipped())
            .args(args);
        command.current_dir(&two.dir).env("HOME", second.path());
        command.env("DOMUS_CACHE", &cache).env("TMPDIR", &tmp);
        command.env("TZ", "Asia/Kathmandu").env("LC_ALL", "C.UTF-8");
        Ran::of(&mut command, fleet::BUILD).exits(0);
    };
    build(IMAGE);
    build(&[ISO, &["--output", &out.display().to_string()]].concat());
    let digest = |path: PathBuf| digest::of_file(&path).expect("a digest");
    assert_eq!(digest(one.iso()), digest(out));
    for name in ["initrd.img", "manifest.json", "root.img", "vmlinux"] {
        let path = Path::new("build/images/base@1").join(name);
        assert_eq!(
            digest(one.dir.join(&path)),
            digest(two.dir.join(&path)),
            "{name}"
        );
    }
    assert!(!two.iso().exists(), "it was asked for elsewhere");
    assert_eq!(listed(&tmp), Vec::<String>::new());
}

#[test]
fn an_unsigned_release_must_be_asked_for() {
    let home = home();
    let fleet = Fleet::new(home.path());
    let refused = fleet.domus(&["iso", "build"]).exits(3);
    refused.complains(&["refused", "`domus iso build --unsigned`"]);
    assert!(!fleet.dir.join("build").exists());
}
