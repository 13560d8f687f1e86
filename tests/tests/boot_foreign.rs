// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU whose image is none of Domus's own: a Debian with cloud-init on a disk with a partition table, which GRUB
//! boots in the guest. What its root writes is forgotten; what its data disk has stays.

use domus_tests::boots::{self, Boot};
use domus_tests::fleet::Fleet;
use domus_tests::foreign;
use domus_tests::rehearsal::{Rehearsal, domu};
use domus_tests::ssh::Ssh;
use serde_json::Value;
use std::time::Duration;

/// cloud-init is a dozen starts of Python.
const LIMIT: Duration = Duration::from_secs(1200);
const DOMU: &str = r#"version = 1
kind    = "pv"
image   = "cloud@1"
foreign = true
memory  = "320MiB"
stop-timeout = "5m"

[[network]]
bridge = "lan"

[[disk]]
name = "root"
size = "256MiB"
fs   = "scratch"

[[disk]]
name  = "data"
size  = "64MiB"
mount = "/srv"
"#;
/// The guest says on its console who it is, what it was given, and what is left of its last run.
const USER_DATA: &str = r#"#!/bin/sh
exec >/dev/console
echo "guest: I am $(hostname)"
echo "guest: given $(cat /etc/domus-test) $(stat -c %a:%U:%G /etc/domus-test) $(readlink /etc/domus-link)"
echo "guest: issue $(ls /etc/issue 2>/dev/null)"
echo "guest: root $(cat /root/starts 2>/dev/null | wc -l) data $(cat /srv/starts 2>/dev/null | wc -l)"
echo start >>/root/starts
echo start >>/srv/starts
sync
echo "guest: done"
[ $(wc -l </srv/starts) != 2 ] || dd if=/dev/zero of=/root/fill bs=1M count=400 conv=fsync
"#;

#[test]
fn a_foreign_image_boots_by_itself_and_takes_its_configuration() {
    boots::emulated("foreign", boots);
}

fn boots(boot: &Boot) {
    let fleet = Fleet::new(boot.path());
    fleet.git(&["rm", "-rq", "pservers/alpha/domUs", "vservers"]);
    fleet.build();
    let vmlinux = fleet.dir.join("build/images/base@1/vmlinux");
    boot.step("makes a disk");
    foreign::disk(&fleet.dir.join("images/cloud.raw"), &vmlinux);
    fleet.append(".gitignore", "images/*.raw\n");
    fleet.write(
        "images/cloud.toml",
        "version = 1\nrevision = 1\n\n[foreign]\ndisk = \"cloud.raw\"\n",
    );
    fleet.write("pservers/alpha/domUs/shop.toml", DOMU);
    fleet.write("vservers/shop/etc/cloud/user-data", USER_DATA);
    fleet.write("vservers/shop/etc/domus-test.tmpl", "{{ domus.name }}\n");
    fleet.write(
        "vservers/shop/etc.toml",
        "version = 1\nremove = [\"issue\"]\n\n[files.domus-test]\nowner = \"root:adm\"\nmode = \"0640\"\n",
    );
    let link = fleet.dir.join("vservers/shop/etc/domus-link");
    std::os::unix::fs::symlink("domus-test", link).expect("a link");
    let built = fleet.domus(&["image", "build", "cloud"]).exits(0).stdout;
    assert!(
        built.starts_with("cloud@1   built   1026 MiB   foreign   "),
        "{built}"
    );
    fleet.commit();
    fleet.domus(&["check"]).exits(0);
    boot.step("boots");
    let rehearsal = Rehearsal::start(&fleet, boot.path(), &[], LIMIT);
    assert_eq!(rehearsal.report["ok"], true, "{:#}", rehearsal.report);
    let ssh = rehearsal.ssh(&fleet);
    boot.step("takes its configuration");
    says(&ssh, "root 0 data 0");
    boot.step("stops");
    ssh.ok("domus-dom0 stop shop --timeout 300");
    assert_eq!(ssh.ok("dmsetup ls --target snapshot 2>/dev/null"), "");
    let shown = ssh.ok("losetup --noheadings --list --output BACK-FILE");
    assert!(
        !shown.contains("cloud") && !shown.contains("shop"),
        "{shown}"
    );
    boot.step("starts again");
    ssh.ok("domus-dom0 start shop");
    says(&ssh, "root 0 data 1");
    boot.step("fills its scratch");
    it_is_said_that_its_scratch_is_full(&ssh);
    drop(ssh);
    rehearsal.end();
}

fn it_is_said_that_its_scratch_is_full(ssh: &Ssh) {
    let status = || {
        serde_json::from_str::<Value>(&ssh.ok("sleep 5; domus-dom0 status --json")).expect("JSON")
    };
    let mut looks = std::iter::repeat_with(status).take(50);
    let degraded = looks.find(|status| domu(status, "shop")["state"] == "degraded");
    let shop = domu(&degraded.expect("it is degraded"), "shop").clone();
    let reason = shop["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("its scratch is full"), "{shop:#}");
}

/// Waits until the guest has said all, and looks at it.
fn says(ssh: &Ssh, starts: &str) {
    let mut looks = std::iter::repeat_with(|| ssh.ok("sleep 5; domus-dom0 logs shop")).take(180);
    let said =
        looks.find(|said| said.matches("guest: done").count() > starts.matches("data 1").count());
    let said = said.expect("the guest says all");
    let expected = [
        "guest: I am shop",
        "guest: given shop 640:root:adm domus-test",
        "guest: issue ",
        &format!("guest: {starts}"),
        "guest: done",
    ];
    let all: Vec<&str> = said
        .lines()
        .map(str::trim_end)
        .filter(|line| line.starts_with("guest: "))
        .collect();
    assert_eq!(all[all.len() - 5..], expected.map(str::trim_end), "{said}");
}
