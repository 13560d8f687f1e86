// SPDX-License-Identifier: GPL-3.0-or-later
//! A medium of `domus media build` as the stick of a machine: by BIOS until Xen runs, which is
//! GRUB's part of it, then by UEFI. The domUs' volumes are in a volume group: first one that is not
//! there, which fails the domUs and not the host; then one that is.

use domus_tests::boots::{self, Boot};
use domus_tests::fleet::Fleet;
use domus_tests::grub;
use domus_tests::host;
use domus_tests::rehearsal::{Rehearsal, domu};
use domus_tests::ssh::Ssh;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(720);
const HOST: &str = "pservers/alpha/host.toml";

#[test]
fn one_stick_is_one_host_that_keeps_volumes_in_lvm() {
    boots::emulated("uefi", boots_from_usb);
}

fn boots_from_usb(boot: &Boot) {
    let fleet = Fleet::new(boot.path());
    let host = std::fs::read_to_string(fleet.dir.join(HOST)).expect("host.toml");
    let host = host + "\n[storage]\ndomUs = { volume-group = \"vg0\" }\n";
    fleet.write(HOST, &host);
    fleet.change(
        "pservers/alpha/domUs/web.toml",
        "version = 1\n",
        "version = 1\nkind = \"pv\"\nafter   = [\"db\"]\n",
    );
    fleet.write("global/etc/domus-both", "global\n");
    let commit = fleet.commit();
    fleet.build();
    let stick = boot.path().join("stick.img").display().to_string();
    let build = ["media", "build", "alpha", "-o", &stick];
    fleet.domus(&build).exits(0);
    let xen = ["(XEN) Xen version ", "domus.release=", "domus.slot=a"];
    grub::says(Path::new(&stick), (boot.path(), "bios"), grub::BIOS, &xen);

    let arguments = ["--iso", &stick, "--uefi", "--blank-disk", "512MiB"];
    let rehearsal = Rehearsal::start(&fleet, boot.path(), &arguments, LIMIT);
    assert_eq!(rehearsal.report["commit"], commit.as_str());
    assert_eq!(rehearsal.report["config_partition"], "/dev/sda5");
    without_the_volume_group_they_fail(&rehearsal);
    let ssh = rehearsal.ssh(&fleet);
    the_host_itself_is_fine(&ssh);
    with_the_volume_group_they_come_up_in_order(&ssh);
    applying_again_formats_nothing(&ssh);
    a_volume_is_copied_while_its_domu_runs_and_restored_when_not(&ssh);
    drop(ssh);
    assert_eq!(rehearsal.end(), Some(1));
}

fn without_the_volume_group_they_fail(rehearsal: &Rehearsal) {
    let report = &rehearsal.report;
    assert_eq!(report["firmware"], "uefi");
    assert_eq!(report["ok"], false, "{report:#}");
    assert_eq!(report["reason"], "2 of 2 domUs failed");
    for name in ["web", "db"] {
        let domu = rehearsal.domu(name);
        assert_eq!(domu["state"], "failed", "{domu:#}");
        assert_eq!(domu["commit"], Value::Null, "{domu:#}");
        let reason = domu["reason"].as_str().expect("a reason");
        for text in [
            "looking into the volume group vg0",
            "`vgcreate vg0 DEVICE` makes it",
            "Volume group \"vg0\" not found",
        ] {
            assert!(reason.contains(text), "{reason}");
        }
        assert!(rehearsal.seconds("domu-failed", Some(name)) > rehearsal.seconds("systemd", None));
    }
}

fn the_host_itself_is_fine(ssh: &Ssh) {
    ssh.ok("test -d /sys/firmware/efi");
    let status = ssh.status();
    for name in ["web", "db"] {
        assert_eq!(domu(&status, name)["state"], "failed");
    }
    let failed = ssh.ok("systemctl --failed --no-legend --plain | cut -d' ' -f1");
    assert_eq!(failed, "", "domUs are no units");
    assert_eq!(host::traces(ssh).domains.len(), 1, "nothing half-made runs");
}

fn with_the_volume_group_they_come_up_in_order(ssh: &Ssh) {
    ssh.ok("pvcreate -q /dev/vda && vgcreate -q vg0 /dev/vda");
    let plan = ssh.run("domus-dom0 plan").exits(2).stdout;
    assert!(plan.contains("  start   db\n  then    web\n"), "{plan}");
    ssh.ok("domus-dom0 apply");
    host::wait_until_up(ssh, &["db", "web"]);
    let domains = host::traces(ssh).domains;
    assert!(
        domains["db"] < domains["web"],
        "web comes after db: {domains:?}"
    );
}

fn applying_again_formats_nothing(ssh: &Ssh) {
    let identities = || {
        let lvs = ssh.ok("lvs --noheadings -o lv_name,lv_uuid,lv_size,lv_tags vg0");
        let volumes = ["/dev/vg0/db.data", "/dev/vg0/web.data"];
        lvs + &volumes
            .map(|volume| ssh.ok(&host::identity(volume)))
            .concat()
    };
    let before = identities();
    assert_eq!(before.lines().count(), 6, "{before}");
    assert!(!before.contains("domus.new"), "{before}");
    let traces = host::traces(ssh);
    let applied: Value = serde_json::from_str(&ssh.ok("domus-dom0 apply --json")).expect("JSON");
    assert_eq!(
        (&applied["started"], &applied["failed"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(host::traces(ssh), traces);
    assert_eq!(identities(), before, "formatted again");
}

/// By snapshots of LVM; and nothing of them is left.
fn a_volume_is_copied_while_its_domu_runs_and_restored_when_not(ssh: &Ssh) {
    let volumes = || ssh.ok("lvs --noheadings -o lv_name vg0").replace(' ', "");
    ssh.ok("domus-dom0 volume snapshot web/data --name before");
    ssh.ok("domus-dom0 volume backup web/data --to /run/web.copy");
    assert_eq!(volumes(), "db.data\nweb.data\nweb.data.before\n");
    let listed = ssh.ok("domus-dom0 volume list");
    for row in [
        "db.data          db    data  lvm  96MiB  db",
        "web.data         web   data  lvm  64MiB  web",
        // As much room as it may need, and not what it shows.
        "web.data.before  web   data  lvm  68MiB  -        snapshot of web.data",
    ] {
        assert!(listed.contains(row), "{listed}");
    }
    ssh.run("domus-dom0 volume destroy --declared web.data")
        .exits(3);
    ssh.ok("domus-dom0 stop web --timeout 240");
    let restore = "domus-dom0 volume restore web/data --from /run/web.copy";
    let refused = ssh.run(restore).exits(3);
    assert!(refused.stderr.contains("has the snapshot"), "{refused:?}");
    ssh.ok("domus-dom0 volume destroy web.data.before");
    let ruin = "lvchange -qq --activate y vg0/web.data && \
                dd if=/dev/urandom of=/dev/vg0/web.data bs=64k count=1 status=none";
    ssh.ok(ruin);
    ssh.run("domus-dom0 start web").exits(1);
    ssh.ok("domus-dom0 stop web");
    ssh.ok(restore);
    assert_eq!(volumes(), "db.data\nweb.data\n");
    assert_eq!(
        ssh.ok("dd if=/run/web.copy bs=4096 skip=1 count=16384 status=none | sha256sum"),
        ssh.ok("sha256sum < /dev/vg0/web.data")
    );
    ssh.ok("domus-dom0 start web");
    host::wait_until_up(ssh, &["db", "web"]);
}
