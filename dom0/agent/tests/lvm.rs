// SPDX-License-Identifier: GPL-3.0-or-later
//! Logical volumes, with programs in place of lvm2's that keep a volume in a plain file: what is
//! formatted, and above all what is not.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{Host, Ran};
use serde_json::json;

const DISK: &str = "[[disk]]\nname = \"data\"\nsize = \"8MiB\"\nmount = \"/srv\"\n";
const STORAGE: &str = "[storage.domUs]\nvolume-group = \"vg0\"\n";

/// Prints every file in `lv/` as `lvs` does; its tags are in the file of that name in `tags/`, what it
/// is a snapshot of in `origins/`.
const LVS: &str = r#"
printf '{"report":[{"lv":['
comma=
for lv in lv/*; do
  [ -e "$lv" ] || continue
  name=${lv#lv/}
  printf '%s{"lv_name":"%s","lv_path":"%s","lv_tags":"%s","lv_active":"%s","lv_size":"%s",' \
    "$comma" "$name" "$PWD/$lv" "$(cat "tags/$name")" "$(cat active)" "$(stat -c %s "$lv")"
  printf '"origin":"%s","lv_device_open":""}' "$(cat "origins/$name" 2>/dev/null)"
  comma=,
done
echo ']}]}'
"#;
const LVCREATE: &str = r#"
tags= size= snapshot=
while [ "$1" != -- ]; do
  case $1 in
    --name) name=$2 ;;
    --size) size=${2%b} ;;
    --addtag) tags=${tags:+$tags,}$2 ;;
    --snapshot) snapshot=yes ;;
  esac
  shift
done
[ ! -e "lv/$name" ] || { echo "$name already exists" >&2; exit 5; }
[ ! -e full ] || { echo 'insufficient free space' >&2; exit 5; }
if [ "$snapshot" ]; then
  cp "lv/${2#vg0/}" "lv/$name"
  printf %s "${2#vg0/}" > "origins/$name"
else
  truncate -s "$size" "lv/$name"
fi
printf %s "$tags" > "tags/$name"
"#;
const LVCHANGE: &str = r#"
if [ "$1" = --activate ]; then
  [ "$2" = n ] || printf active > active
  exit
fi
for lv; do :; done
tags=tags/${lv#vg0/}
while [ "$1" != -- ]; do
  case $1 in
    --deltag) tr , '\n' < "$tags" | { grep -vxF -- "$2" || true; } | paste -sd, > "$tags.new" ;;
    --addtag) { tr , '\n' < "$tags"; echo; echo "$2"; } | grep . | paste -sd, > "$tags.new" ;;
  esac
  tr -d '\n' < "$tags.new" > "$tags"
  rm "$tags.new"
  shift 2
done
"#;
const LVRENAME: &str = r#"
[ ! -e "fails-at" ] || [ "$(cat fails-at)" != "$3" ] || { echo 'the power is gone' >&2; exit 5; }
[ ! -e "lv/$4" ] || { echo "$4 already exists" >&2; exit 5; }
mv "lv/$3" "lv/$4"
mv "tags/$3" "tags/$4"
"#;
const LVREMOVE: &str = r#"
for lv; do :; done
lv=${lv#vg0/}
if grep -qxF -- "$lv" origins/* 2>/dev/null; then echo "$lv has snapshots" >&2; exit 5; fi
rm -f "lv/$lv" "tags/$lv" "origins/$lv"
"#;

struct Group {
    host: Host,
    dir: PathBuf,
}

impl Group {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "loop devices need root: run the tests so"
        );
        let mut host = Host::new(&[("web", DISK)], STORAGE);
        host.give_image();
        let dir = host.at("lvm");
        for below in ["bin", "lv", "tags", "origins"] {
            fs::create_dir_all(dir.join(below)).expect("mkdir");
        }
        host.write("lvm/active", "active");
        for (name, script) in [
            ("lvs", LVS),
            ("lvcreate", LVCREATE),
            ("lvchange", LVCHANGE),
            ("lvrename", LVRENAME),
            ("lvremove", LVREMOVE),
        ] {
            let log = if name == "lvs" {
                ""
            } else {
                "echo \"${0##*/} $*\" >> log\n"
            };
            let shown = dir.display();
            host.write(
                &format!("lvm/bin/{name}"),
                &format!("#!/bin/sh -e\ncd {shown}\n{log}{script}"),
            );
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(dir.join("bin").join(name), mode).expect("chmod");
        }
        host.programs_in(&dir.join("bin"));
        Self { host, dir }
    }

    /// Puts a volume there.
    fn volume(&self, tags: &str, content: &[u8]) {
        fs::write(self.dir.join("lv/web.data"), content).expect("write");
        fs::write(self.dir.join("tags/web.data"), tags).expect("write");
    }

    /// Applies and returns the reason for which `web` did not start, and what lvm2 was told.
    fn apply(&self) -> (Option<String>, String) {
        let _ = fs::remove_file(self.dir.join("log"));
        let applied = self.host.run(&["apply", "--json"]).json();
        let reason = applied["failed"][0]["reason"].as_str().map(str::to_owned);
        (
            reason,
            fs::read_to_string(self.dir.join("log")).unwrap_or_default(),
        )
    }

    /// Applies, sees that `web` starts, and returns what lvm2 was told.
    fn apply_well(&self) -> String {
        let (reason, log) = self.apply();
        assert_eq!(reason, None);
        log
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.dir.join("lv/web.data")).expect("read")
    }

    fn is_formatted(&self) -> bool {
        self.content().get(1080..1082) == Some(&[0x53, 0xef])
    }

    fn tags(&self) -> String {
        fs::read_to_string(self.dir.join("tags/web.data")).expect("read")
    }

    /// The names of all volumes.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("lv")).expect("list");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("entry"))).collect();
        names.sort();
        names
    }

    /// Runs the agent and returns what lvm2 was told.
    fn run(&self, arguments: &[&str]) -> (Ran, String) {
        let _ = fs::remove_file(self.dir.join("log"));
        let ran = self.host.run(arguments);
        let log = fs::read_to_string(self.dir.join("log"));
        (ran, log.unwrap_or_default())
    }

    /// The same with this copy on standard input.
    fn restore(&self, copy: &[u8]) -> Ran {
        fs::write(self.dir.join("copy"), copy).expect("written");
        let copy = self.dir.join("copy").display().to_string();
        let (ran, _) = self.run(&["volume", "restore", "web/data", "--from", &copy]);
        ran
    }

    /// Lets `web` run with its volume, or not.
    fn web_runs(&self, runs: bool) {
        let device = if runs {
            self.dir.join("lv/web.data")
        } else {
            PathBuf::new()
        };
        let node = "/local/domain/0/backend/vbd/2/51744/params";
        self.host.store.set(node, &device.to_string_lossy());
        let name = if runs { "web" } else { "another" };
        self.host.store.set("/local/domain/2/name", name);
        self.host
            .runs(if runs { &["test", "web"] } else { &["test"] });
    }

    fn copy(&self) -> Vec<u8> {
        let copied = self
            .host
            .command(&["volume", "backup", "web/data"])
            .output();
        let copied = copied.expect("run");
        assert!(copied.status.success(), "{copied:?}");
        copied.stdout
    }
}

#[test]
fn a_volume_is_made_once_and_never_touched_again() {
    let group = Group::new();
    let log = group.apply_well();
    let create = "lvcreate --yes --wipesignatures y --zero y --addtag domus.new \
                  --addtag domus.volume --size 8388608b --name web.data -- vg0\n";
    assert_eq!(
        log,
        format!("{create}lvchange --deltag domus.new -- vg0/web.data\n")
    );
    assert!(group.is_formatted());
    let before = group.content();
    let log = group.apply_well();
    assert_eq!(log, "");
    assert!(group.content() == before);
}

#[test]
fn one_whose_making_was_cut_short_is_finished() {
    let group = Group::new();
    group.volume("domus.new", &[0; 8 << 20]);
    let log = group.apply_well();
    assert_eq!(log, "lvchange --deltag domus.new -- vg0/web.data\n");
    assert!(group.is_formatted());

    let formatted = group.content();
    group.volume("other,domus.new", &formatted);
    let log = group.apply_well();
    assert_eq!(log, "lvchange --deltag domus.new -- vg0/web.data\n");
    assert!(
        group.content() == formatted,
        "it had been formatted: not again"
    );
}

#[test]
fn what_was_not_made_here_is_never_formatted() {
    let group = Group::new();
    let blank = vec![0; 8 << 20];
    let mut xfs = blank.clone();
    xfs[..4].copy_from_slice(b"XFSB");
    for (tags, content, word) in [
        ("", &blank, "holds nothing that is known"),
        ("", &xfs, "holds xfs"),
        (
            "domus.new",
            &xfs,
            "carries the tag domus.new and holds xfs: it is left as it is",
        ),
    ] {
        group.volume(tags, content);
        let (reason, log) = group.apply();
        let reason = reason.expect("refused");
        assert!(reason.contains(word), "{reason}");
        assert_eq!((log.as_str(), group.tags().as_str()), ("", tags));
        assert!(group.content() == *content);
    }
}

#[test]
fn one_that_is_not_active_is_activated() {
    let group = Group::new();
    group.apply_well();
    group.host.write("lvm/active", "");
    let log = group.apply_well();
    assert_eq!(log, "lvchange --activate y -- vg0/web.data\n");
}

#[test]
fn a_snapshot_is_made_while_its_domu_runs_and_goes_by_its_name() {
    let group = Group::new();
    group.apply_well();
    group.web_runs(true);
    let (made, log) = group.run(&["volume", "snapshot", "web/data", "--name", "before"]);
    assert_eq!(
        (made.code, made.stdout.as_str()),
        (0, "web.data.before   made\n"),
        "{made:?}"
    );
    let expected = "lvcreate --snapshot --permission r --addtag domus.volume --extents 100%ORIGIN \
                    --name web.data.before -- vg0/web.data\n";
    assert_eq!(log, expected);
    for (name, said) in [
        ("before", "--name gives it another"),
        ("incoming", "cannot be called"),
    ] {
        let ran = group
            .run(&["volume", "snapshot", "web/data", "--name", name])
            .0;
        assert!(ran.code == 1 && ran.stderr.contains(said), "{ran:?}");
    }
    let listed = group.run(&["volume", "list"]).0.stdout;
    let expected = "\
volume           domU  disk  on   size  used by
web.data         web   data  lvm  8MiB  web
web.data.before  web   data  lvm  8MiB  -        snapshot of web.data
";
    assert_eq!(listed, expected);
    let status = group.host.run(&["status", "--json"]).json();
    assert_eq!(status["orphans"], json!([]), "a snapshot is no orphan");

    // What would take it along is refused.
    group.web_runs(false);
    assert_eq!(group.host.run(&["stop", "web"]).code, 0);
    let copy = group.copy();
    let restore = group.restore(&copy);
    assert!(
        restore.code == 3 && restore.stderr.contains("has the snapshot"),
        "{restore:?}"
    );
    let (refused, log) = group.run(&["volume", "destroy", "--declared", "web.data"]);
    assert_eq!((refused.code, log.as_str()), (3, ""));
    let (gone, log) = group.run(&["volume", "destroy", "web.data.before"]);
    assert_eq!(
        (gone.code, log.as_str()),
        (0, "lvremove --yes -- vg0/web.data.before\n")
    );
    let (gone, log) = group.run(&["volume", "destroy", "--declared", "web.data"]);
    let expected = "lvchange --activate n -- vg0/web.data\nlvremove -- vg0/web.data\n";
    assert_eq!((gone.code, log.as_str()), (0, expected));
    assert_eq!(group.names(), [""; 0]);
}

#[test]
fn a_domu_that_runs_is_copied_from_a_snapshot_that_goes() {
    let group = Group::new();
    group.apply_well();
    group.web_runs(true);
    let _ = fs::remove_file(group.dir.join("log"));
    let copy = group.copy();
    let log = fs::read_to_string(group.dir.join("log")).expect("a log");
    let lines: Vec<&str> = log.lines().collect();
    let [made, gone] = lines[..] else {
        panic!("{log}")
    };
    assert!(
        made.contains("--name web.data.copied -- vg0/web.data"),
        "{made}"
    );
    assert_eq!(gone, "lvremove --yes -- vg0/web.data.copied");
    assert_eq!(group.names(), ["web.data"]);
    assert!(copy[4096..][..8 << 20] == group.content());
    // One that somebody left who was killed is in nobody's way.
    fs::write(group.dir.join("lv/web.data.copied"), "old").expect("written");
    fs::write(group.dir.join("tags/web.data.copied"), "domus.volume").expect("written");
    fs::write(group.dir.join("origins/web.data.copied"), "web.data").expect("written");
    assert!(group.copy() == copy);
    assert_eq!(group.names(), ["web.data"]);
    // Nor is one of somebody else's removed.
    fs::write(group.dir.join("lv/web.data.copied"), "other").expect("written");
    fs::write(group.dir.join("tags/web.data.copied"), "").expect("written");
    let failed = group
        .run(&["volume", "backup", "web/data", "--to", "/dev/shm/never"])
        .0;
    assert!(
        failed.code == 1 && failed.stderr.contains("already exists"),
        "{failed:?}"
    );
    assert_eq!(group.names(), ["web.data", "web.data.copied"]);
}

#[test]
fn a_restored_volume_takes_the_place_of_the_other_when_all_of_it_is_right() {
    let group = Group::new();
    group.apply_well();
    assert_eq!(group.host.run(&["stop", "web"]).code, 0);
    let (original, copy) = (group.content(), group.copy());
    let mut changed = original.clone();
    changed[4 << 20..][..5].copy_from_slice(b"newer");
    group.volume("domus.volume", &changed);

    let mut altered = copy.clone();
    altered[5000] ^= 1;
    for bad in [
        &altered[..],
        &copy[..copy.len() / 2],
        &copy[..copy.len() - 1],
    ] {
        let ran = group.restore(bad);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(group.names(), ["web.data"], "nothing is left beside it");
        assert!(group.content() == changed);
    }
    group.host.write("lvm/full", "");
    let full = group.restore(&copy);
    assert!(
        full.code == 1 && full.stderr.contains("insufficient free space"),
        "{full:?}"
    );
    assert!(group.content() == changed);
    fs::remove_file(group.dir.join("full")).expect("rm");

    let restored = group.restore(&copy);
    assert_eq!(restored.code, 0, "{restored:?}");
    let log = fs::read_to_string(group.dir.join("log")).expect("a log");
    let expected = "\
lvcreate --yes --wipesignatures y --zero y --addtag domus.new --addtag domus.volume --size 8388608b \
--name web.data.incoming -- vg0
lvchange --deltag domus.new --addtag domus.verified -- vg0/web.data.incoming
lvrename -- vg0 web.data web.data.replaced
lvrename -- vg0 web.data.incoming web.data
lvchange --deltag domus.verified -- vg0/web.data
lvchange --activate n -- vg0/web.data.replaced
lvremove -- vg0/web.data.replaced
";
    assert_eq!(log, expected);
    assert_eq!(
        (group.names(), group.tags()),
        (vec!["web.data".to_owned()], "domus.volume".into())
    );
    assert!(group.content() == original);
}

#[test]
fn a_restore_that_a_power_cut_ended_is_finished_by_whoever_comes_next() {
    for cut in ["web.data", "web.data.incoming"] {
        let group = Group::new();
        group.apply_well();
        assert_eq!(group.host.run(&["stop", "web"]).code, 0);
        let (original, copy) = (group.content(), group.copy());
        group.volume("domus.volume", &vec![1; 8 << 20]);
        group.host.write("lvm/fails-at", cut);
        let ran = group.restore(&copy);
        assert!(
            ran.code == 1 && ran.stderr.contains("the power is gone"),
            "{ran:?}"
        );
        assert_eq!(group.names().len(), 2, "both are there");
        fs::remove_file(group.dir.join("fails-at")).expect("rm");
        assert_eq!(group.host.run(&["start", "web"]).code, 0);
        assert_eq!(group.names(), ["web.data"]);
        assert!(group.content() == original, "{cut}");
    }
    // Nobody makes a new one where the old one waits for somebody.
    let group = Group::new();
    group.apply_well();
    let before = group.content();
    for dir in ["lv", "tags"] {
        let dir = group.dir.join(dir);
        fs::rename(dir.join("web.data"), dir.join("web.data.replaced")).expect("renamed");
    }
    let (reason, log) = group.apply();
    let reason = reason.expect("refused");
    assert!(reason.contains("`lvrename` it to web.data"), "{reason}");
    assert_eq!(
        (log.as_str(), group.names()),
        ("", vec!["web.data.replaced".to_owned()])
    );
    assert!(before == fs::read(group.dir.join("lv/web.data.replaced")).expect("read"));
}
