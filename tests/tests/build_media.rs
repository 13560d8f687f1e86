// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus media build`, `domus config disk` and `domus config seed`: what is in them, and what is
//! refused.

use domus_system::digest;
use domus_tests::disks::{blank, poke};
use domus_tests::ext4::Ext4;
use domus_tests::fleet::Fleet;
use domus_tests::iso9660::Image;
use domus_tests::loops::Loop;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

struct Site {
    home: TempDir,
    fleet: Fleet,
    commit: String,
}

impl Site {
    fn new() -> Self {
        domus_tests::require_root();
        let home = tempfile::tempdir().expect("a temporary directory");
        let fleet = Fleet::new(home.path());
        fleet.build();
        let commit = fleet.commit();
        Self {
            home,
            fleet,
            commit,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn medium(&self, name: &str) -> (PathBuf, Value) {
        let to = self.path(name);
        let args = ["media", "build", "alpha", "--json", "-o"];
        let ran = self
            .fleet
            .domus(&[&args[..], &[&to.display().to_string()]].concat());
        (to, ran.exits(0).json())
    }

    /// The config file system that begins at `offset` of `disk` is alpha's.
    fn assert_config(&self, disk: &Path, offset: u64) {
        let config = Ext4::at(disk, offset);
        config.assert_clean();
        let marker = config.read(".domus-config");
        assert!(marker.contains("host = \"alpha\""), "{marker}");
        assert!(marker.contains("dmi-uuid"), "{marker}");
        let running = config.read("repo.git/refs/domus/running");
        assert_eq!(running.trim(), self.commit);
        let manifest = config.read("images/base@1/manifest.json");
        assert!(manifest.contains("base@1"), "{manifest}");
        let root = self.path("root.img");
        config.copy_out("images/base@1/root.img", &root);
        let built = self.fleet.dir.join("build/images/base@1/root.img");
        let digest = |path: &Path| digest::of_file(path).expect("a digest");
        assert_eq!(digest(&root), digest(&built));
    }
}

/// Start of a partition of a GPT, in bytes (UEFI specification 5.3.3).
fn start(disk: &Path, number: u64) -> u64 {
    let mut sector = [0; 8];
    let file = File::open(disk).expect("a disk");
    let entry = 1024 + (number - 1) * 128;
    file.read_exact_at(&mut sector, entry + 32)
        .expect("a table");
    u64::from_le_bytes(sector) * 512
}

#[test]
fn a_medium_is_one_host_and_the_same_each_time() {
    let site = Site::new();
    let (medium, report) = site.medium("one.img");
    assert_eq!(
        (&report["host"], &report["release"]),
        (&"alpha".into(), &"1".into())
    );
    assert_eq!(report["commit"], site.commit.as_str());
    assert_eq!(report["id"], site.fleet.release_id().as_str());
    site.assert_config(&medium, start(&medium, 5));
    let (again, _) = site.medium("two.img");
    let digest = |path: &Path| digest::of_file(path).expect("a digest");
    assert_eq!(digest(&medium), digest(&again), "the same bytes");

    let path = medium.display().to_string();
    site.fleet.domus(&["iso", "verify", &path]).exits(0);
    let stick = Loop::blank(
        &site.path("stick.img"),
        medium.metadata().expect("it").len() / MIB + 8,
    );
    let device = &stick.device;
    let consent = ["--yes", "--i-know-this-erases", device];
    let write = ["iso", "write", device, "--iso", &path, "--json"];
    let receipt = site
        .fleet
        .domus(&[&write[..], &consent].concat())
        .exits(0)
        .json();
    assert_eq!(
        (&receipt["host"], &receipt["release"]),
        (&"alpha".into(), &"1".into())
    );
    assert_eq!(receipt["commit"], site.commit.as_str());
    assert_eq!(receipt["digest"], format!("sha256:{}", digest(&medium)));
    let list = site
        .fleet
        .domus(&["media", "list", "--json"])
        .exits(0)
        .json();
    assert_eq!(list["media"][0]["host"], "alpha");

    poke(&again, start(&again, 3) + 30 * MIB, b"flipped");
    let again = again.display().to_string();
    let ran = site.fleet.domus(&["iso", "verify", &again]).exits(1);
    ran.complains(&["is damaged", "SHA-256 is"]);
}

#[test]
fn the_key_of_a_replaced_host_goes_along() {
    let site = Site::new();
    let replace = ["host", "replace", "alpha", "--same-machine", "--json"];
    let replaced = site.fleet.domus(&replace).exits(0).json();
    let key = replaced["private_key"].as_str().expect("a file");
    site.fleet.commit();
    let (medium, _) = site.medium("new.img");
    let config = Ext4::at(&medium, start(&medium, 5));
    let carried = config.read("state/ssh/ssh_host_ed25519_key");
    assert_eq!(carried, fs::read_to_string(key).expect("a key"));
}

#[test]
fn a_medium_of_what_hosts_would_not_run_is_refused() {
    let site = Site::new();
    let to = site.path("none.img");
    let name = to.display().to_string();
    let build = |host: &str, more: &[&str]| {
        let args = ["media", "build", host, "-o", &name];
        let ran = site.fleet.domus(&[&args[..], more].concat()).exits(1);
        assert!(!to.exists(), "nothing half-made");
        ran
    };
    build("beta", &[]).complains(&["has no host beta"]);
    build("alpha", &["--commit", "no-such"]).complains(&["no-such"]);
    build("alpha", &["--iso", "/no/such.iso"]).complains(&["/no/such.iso is not there"]);
    let image = site.fleet.dir.join("build/images/base@1/manifest.json");
    let kept = fs::read(&image).expect("a manifest");
    fs::remove_file(&image).expect("it goes");
    build("alpha", &[]).complains(&["base@1 is not built", "`domus image build base`"]);
    fs::write(&image, kept).expect("it is back");
    let names = fs::read_dir(site.home.path())
        .expect("a directory")
        .flatten();
    let left = names.filter(|it| it.file_name().to_string_lossy().starts_with(".domus-tmp-"));
    assert_eq!(left.count(), 0, "nothing temporary is left");
}

#[test]
fn a_disk_becomes_the_config_partition_of_a_host() {
    let site = Site::new();
    let disk = Loop::blank(&site.path("disk.img"), 1024);
    let device = &disk.device;
    let prepare = |device: &str, more: &[&str]| {
        let args = ["config", "disk", "alpha", device, "--yes"];
        site.fleet.domus(&[&args[..], more].concat())
    };
    prepare(device, &[]).exits(0);
    site.assert_config(&disk.file, start(&disk.file, 1));
    let list = site
        .fleet
        .domus(&["media", "list", "--json"])
        .exits(0)
        .json();
    assert_eq!(list["media"][0]["host"], "alpha");
    assert_eq!(list["media"][0].get("release"), None);

    // What is there now is not blank any more.
    let before = digest::of_file(&disk.file).expect("a digest");
    prepare(device, &[])
        .exits(3)
        .complains(&["is not blank", "Nothing was written"]);
    assert_eq!(before, digest::of_file(&disk.file).expect("a digest"));
    prepare(device, &["--i-know-this-erases", device]).exits(0);
    site.assert_config(&disk.file, start(&disk.file, 1));
    let small = Loop::of(&blank(&site.path("small.img"), 32));
    prepare(&small.device, &[])
        .exits(3)
        .complains(&["has 32 MiB, and"]);
}

#[test]
fn a_seed_is_what_a_config_disk_is_and_the_same_each_time() {
    let site = Site::new();
    let key = site.fleet.host_key();
    let commit = site.fleet.commit();
    let seed = |name: &str, more: &[&str]| {
        let to = site.path(name);
        let path = to.display().to_string();
        let args = ["config", "seed", "alpha", "--json", "-o", &path];
        (site.fleet.domus(&[&args[..], more].concat()), to)
    };
    let with_key = ["--host-key", key.as_str()];
    let (ran, one) = seed("one.iso", &with_key);
    let ran = ran.exits(0);
    assert_eq!(ran.json()["commit"], commit.as_str());
    let warning = "has no `config` in [storage]: alpha keeps nothing";
    let (two, digest) = (seed("two.iso", &with_key).1, |path: &Path| {
        digest::of_file(path).expect("a digest")
    });
    assert_eq!(digest(&one), digest(&two), "the same bytes");
    ran.complains(&[warning]);
    let image = Image::open(&one);
    let paths: Vec<String> = image.extents().into_iter().map(|it| it.path).collect();
    // By its first standard names are short and loud; Rock Ridge has the true ones beside them.
    let has = |end: &str| paths.iter().any(|path| path.ends_with(end));
    for end in [
        "DOMUS_CONFIG",
        "REPO.GIT",
        "ROOT.IMG",
        "GLOBAL",
        "LOCAL",
        "STATE",
    ] {
        assert!(has(end), "no {end} in {paths:?}");
    }
    let bytes = fs::read(&one).expect("an ISO");
    let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(has(b"DOMUS-SEED") && has(b".domus-config") && has(b"ssh_host_ed25519_key"));
    assert!(has(fs::read(&key).expect("a key").as_slice()));

    // Where a config disk is refused, too.
    let (ran, none) = seed("none.iso", &["--commit", "no-such"]);
    ran.exits(1).complains(&["no-such"]);
    assert!(!none.exists());
    site.fleet.append(
        "pservers/alpha/host.toml",
        "\n[storage]\ndisks = [\"ata-A\"]\nconfig = \"240MiB\"\n",
    );
    site.fleet.commit();
    let (ran, none) = seed("none.iso", &with_key);
    ran.exits(1).complains(&["240MiB for /config"]);
    assert!(!none.exists());
}
