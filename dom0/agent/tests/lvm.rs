// SPDX-License-Identifier: GPL-3.0-or-later
//! Logical volumes, with programs in place of lvm2's that keep a volume in a plain file: what is
//! formatted, and above all what is not.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::Host;

const DISK: &str = "[[disk]]\nname = \"data\"\nsize = \"8MiB\"\nmount = \"/srv\"\n";
const STORAGE: &str = "[storage.domUs]\nvolume-group = \"vg0\"\n";

/// Prints every file in `lv/` as `lvs` does; its tags are in the file of that name in `tags/`.
const LVS: &str = r#"
printf '{"report":[{"lv":['
comma=
for lv in lv/*; do
  [ -e "$lv" ] || continue
  name=${lv#lv/}
  printf '%s{"lv_name":"%s","lv_path":"%s","lv_tags":"%s","lv_active":"%s"}' \
    "$comma" "$name" "$PWD/$lv" "$(cat "tags/$name")" "$(cat active)"
  comma=,
done
echo ']}]}'
"#;
const LVCREATE: &str = r#"
while [ "$1" != -- ]; do
  case $1 in
    --name) name=$2 ;;
    --size) size=${2%b} ;;
    --addtag) tag=$2 ;;
  esac
  shift
done
truncate -s "$size" "lv/$name"
printf %s "$tag" > "tags/$name"
"#;
const LVCHANGE: &str = r#"
case $1 in
  --deltag) : > "tags/${4#vg0/}" ;;
  --activate) printf active > active ;;
esac
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
        for below in ["bin", "lv", "tags"] {
            fs::create_dir_all(dir.join(below)).expect("mkdir");
        }
        host.write("lvm/active", "active");
        for (name, script) in [("lvs", LVS), ("lvcreate", LVCREATE), ("lvchange", LVCHANGE)] {
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
}

#[test]
fn a_volume_is_made_once_and_never_touched_again() {
    let group = Group::new();
    let log = group.apply_well();
    let create = "lvcreate --yes --wipesignatures y --zero y --addtag domus.new --size 8388608b \
                  --name web.data -- vg0\n";
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
