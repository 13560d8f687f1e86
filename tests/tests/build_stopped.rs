// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that are stopped, by an operator or by a full disk: an error, and nothing half-made
//! under a final name, no mount, no loop device, no process, no temporary directory.

use domus_tests::fleet::{self, Fleet};
use domus_tests::ran::Ran;
use domus_tests::tmpfs::Tmpfs;
use domus_tests::traces::{self, Traces, below};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is kept of nothing.
const NOTHING: Vec<PathBuf> = Vec::new();
/// How long a build that is stopped may take to clear up.
const END: Duration = Duration::from_secs(15);
/// How long a bootstrap may take to where it shall be stopped.
const BEGIN: Duration = Duration::from_secs(300);

/// A fleet with a cache and a directory for temporary files of its own.
struct Site {
    home: TempDir,
    fleet: Fleet,
    cache: PathBuf,
    tmp: PathBuf,
}

impl Site {
    fn new() -> Self {
        domus_tests::require_root();
        let home = tempfile::tempdir().expect("a temporary directory");
        let fleet = Fleet::new(home.path());
        let [cache, tmp] = ["cache", "tmp"].map(|name| {
            let dir = home.path().join(name);
            fs::create_dir(&dir).expect("a directory");
            dir
        });
        Self {
            home,
            fleet,
            cache,
            tmp,
        }
    }

    /// Links the Debian trees and the tools of this machine's cache into the cache at `to`, so
    /// that only what is not there is made, and nothing there is touched.
    fn link_trees(to: &Path) -> Vec<PathBuf> {
        for kind in ["debian", "tools"] {
            fs::create_dir_all(to.join(kind)).expect("a directory");
            let kept = fs::read_dir(fleet::cache().join(kind)).expect("a cache");
            for entry in kept.flatten() {
                symlink(entry.path(), to.join(kind).join(entry.file_name())).expect("a link");
            }
        }
        below(to)
    }

    fn run(&self, args: &[&str], cache: &Path, tmp: &Path) -> Ran {
        let mut command = self.fleet.command();
        command
            .args(args)
            .env("DOMUS_CACHE", cache)
            .env("TMPDIR", tmp);
        Ran::of(&mut command, fleet::BUILD)
    }
}

/// A build that runs in a process group of its own, as a terminal's foreground job.
struct Job {
    child: Child,
    log: PathBuf,
}

impl Job {
    fn start(site: &Site, args: &[&str]) -> Self {
        let log = site.home.path().join("job.log");
        let mut command = Command::new(domus_tests::shipped());
        command.args(args).current_dir(&site.fleet.dir);
        command.env("HOME", site.home.path());
        command
            .env("DOMUS_CACHE", &site.cache)
            .env("TMPDIR", &site.tmp);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
            .stderr(File::create(&log).expect("a log"))
            .process_group(0);
        let child = command.spawn().expect("domus starts");
        Self { child, log }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait().expect("domus can be waited for");
            assert!(ended.is_none(), "ended before {what}: {}", self.said());
            assert!(begin.elapsed() < BEGIN, "no {what}: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for its end after a signal, and returns what it said.
    fn ends(mut self) -> String {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("domus can be waited for") {
                break status;
            }
            assert!(begin.elapsed() < END, "still running: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(!status.success(), "{status}: {}", self.said());
        self.said()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The test has failed if it still runs: it is given the time to clear up all the same.
        let begin = Instant::now();
        let _ = kill_process_group(self.pid(), Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < END {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Directories of the cache that only say that there was a cache are no leftovers.
fn kept(cache: &Path) -> Vec<PathBuf> {
    let mut found = below(cache);
    found.retain(|path| path.components().count() > 1);
    found
}

fn assert_clean(site: &Site, before: &Traces, cache: &[PathBuf], said: &str) {
    assert_eq!(kept(&site.cache), cache, "{said}");
    assert_eq!(below(&site.tmp), NOTHING, "{said}");
    assert_eq!(below(&site.fleet.dir.join("build")), NOTHING, "{said}");
    assert_eq!(traces::processes(site.home.path()), Vec::<String>::new());
    assert_eq!(Traces::now(), *before, "{said}");
}

#[test]
fn ctrl_c_in_the_first_download_leaves_nothing() {
    let site = Site::new();
    let before = Traces::now();
    let mut job = Job::start(&site, &["image", "build", "base"]);
    let tmp = site.tmp.clone();
    job.wait_until("mmdebstrap at work", || !below(&tmp).is_empty());
    kill_process_group(job.pid(), Signal::INT).expect("a signal");
    let said = job.ends();
    assert!(said.contains("interrupted"), "{said}");
    assert_clean(&site, &before, &[], &said);
}

/// Stops a build by `stop` while a command of the recipe runs inside the new root.
fn stopped_inside_the_root(stop: impl Fn(&Job)) {
    let site = Site::new();
    let trees = Site::link_trees(&site.cache);
    site.fleet.write(
        "images/base.toml",
        "version = 1\nrevision = 1\ncommands = [\"touch /begun; sleep 600\"]\n",
    );
    let before = Traces::now();
    let mut job = Job::start(&site, &["image", "build", "base"]);
    let tmp = site.tmp.clone();
    job.wait_until("the recipe's command", || {
        let mut roots = traces::roots(&tmp).into_iter();
        roots.any(|root| root.join("begun").exists())
    });
    stop(&job);
    let said = job.ends();
    assert!(said.contains("interrupted"), "{said}");
    assert_clean(&site, &before, &trees, &said);
}

#[test]
fn ctrl_c_inside_the_new_root_leaves_nothing() {
    stopped_inside_the_root(|job| {
        kill_process_group(job.pid(), Signal::INT).expect("a signal");
    });
}

#[test]
fn sigterm_inside_the_new_root_leaves_nothing() {
    stopped_inside_the_root(|job| {
        kill_process(job.pid(), Signal::TERM).expect("a signal");
    });
}

#[test]
fn a_disk_that_fills_up_in_the_bootstrap_is_named_and_left_empty() {
    let site = Site::new();
    let before = Traces::now();
    let small = Tmpfs::new(&site.home.path().join("small"), 60);
    let [cache, tmp] = ["cache", "tmp"].map(|name| small.path().join(name));
    fs::create_dir(&tmp).expect("a directory");
    for args in [
        &["image", "build", "base"][..],
        &["iso", "build", "--unsigned"],
    ] {
        let full = site.run(args, &cache, &tmp).exits(1);
        full.complains(&["building the", "No space left on device"]);
        assert_eq!((kept(&cache), below(&tmp)), (NOTHING, NOTHING));
        assert_eq!(below(&site.fleet.dir.join("build")), NOTHING);
    }
    small.unmount();
    assert_eq!(Traces::now(), before);
}

#[test]
fn a_disk_that_fills_up_while_packing_is_named_and_keeps_nothing_half_made() {
    let site = Site::new();
    // So that what follows has trees to link.
    site.fleet.build();
    fs::remove_dir_all(site.fleet.dir.join("build")).expect("the output goes");
    let before = Traces::now();
    let small = Tmpfs::new(&site.home.path().join("small"), 100);
    let cache = small.path().join("cache");
    let trees = Site::link_trees(&cache);
    for args in [
        &["image", "build", "base"][..],
        &["iso", "build", "--unsigned"],
    ] {
        let full = site.run(args, &cache, &site.tmp).exits(1);
        full.complains(&["building the", "No space left on device"]);
        assert_eq!((kept(&cache), below(&site.tmp)), (trees.clone(), NOTHING));
        assert_eq!(below(&site.fleet.dir.join("build")), NOTHING);
    }
    small.unmount();
    assert_eq!(Traces::now(), before);
}

#[test]
fn a_full_output_disk_keeps_what_was_there() {
    let site = Site::new();
    site.fleet.build();
    let before = Traces::now();
    let small = Tmpfs::new(&site.home.path().join("small"), 40);
    let iso = small.path().join("old.iso");
    fs::write(&iso, "an older ISO").expect("a file");
    let image = small.path().join("images/base@1");
    fs::create_dir_all(&image).expect("a directory");
    fs::write(image.join("root.img"), "an older image").expect("a file");
    let old = below(small.path());

    let output = iso.display().to_string();
    let args = ["iso", "build", "--unsigned", "--output", &output];
    let full = site.fleet.domus(&args).exits(1);
    full.complains(&["building the ISO", "old.iso", "No space left on device"]);
    assert_eq!(fs::read_to_string(&iso).expect("a file"), "an older ISO");

    fs::remove_dir_all(site.fleet.dir.join("build/images")).expect("the images go");
    symlink(
        small.path().join("images"),
        site.fleet.dir.join("build/images"),
    )
    .expect("a link");
    let full = site.fleet.domus(&["image", "build", "base"]).exits(1);
    full.complains(&["building the image base@1", "No space left on device"]);
    let text = fs::read_to_string(image.join("root.img")).expect("a file");
    assert_eq!(text, "an older image");
    assert_eq!(below(small.path()), old);

    fs::remove_file(site.fleet.dir.join("build/images")).expect("the link goes");
    site.fleet.domus(&["image", "build", "base"]).exits(0);
    let output = small.path().join("rehearsal").display().to_string();
    let args = ["rehearse", "alpha", "--output", &output];
    let full = site.fleet.domus(&args).exits(1);
    full.complains(&[
        "making the config disk",
        "packing its content",
        "No space left",
    ]);
    let left = below(&small.path().join("rehearsal"));
    assert_eq!(left, NOTHING, "no half-made disk");
    assert_eq!(traces::processes(small.path()), Vec::<String>::new());
    small.unmount();
    assert_eq!(Traces::now(), before);
}
