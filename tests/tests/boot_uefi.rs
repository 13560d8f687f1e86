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
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(720);
const FLOOD: &str = r#"version = 1
kind      = "pv"
image     = "base@1"
memory    = "128MiB"
autostart = false
"#;
const UNIT: &str =
    "[Unit]\nDefaultDependencies=no\n\n[Service]\nExecStart=/usr/bin/perl /etc/flood\n";
/// Speaks XenStore's protocol (`xen/io/xs_wire.h`) by itself, and never stops: nodes until there is no quota left,
/// and on; transactions; dom0's own name; values that no text has, too long ones; and a report that is another each time.
const FLOODS: &str = r#"open(my $bus, '+<:raw', '/dev/xen/xenbus') or die $!;
sub ask {
    my ($type, $payload) = @_;
    syswrite($bus, pack('L4', $type, 1, 0, length $payload) . $payload);
    sysread($bus, my $head, 16);
    my ($answer, $number, $transaction, $size) = unpack('L4', $head);
    sysread($bus, my $rest, $size) if $size;
}
my $binary = join('', map { chr } 1 .. 255) x 7;
for (my $n = 0;; $n++) {
    ask(11, "data/flood/$n\0$binary") if $n < 5000;
    ask(11, "data/flood/$n\0" . 'x' x 3900);
    ask(11, "data/domus/report\0$n$binary");
    ask(6, "\0");
    ask(11, "/local/domain/0/name\0mine");
}
"#;
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
    fleet.write("pservers/alpha/domUs/flood.toml", FLOOD);
    fleet.write("vservers/flood/etc/flood", FLOODS);
    fleet.write("vservers/flood/etc/systemd/system/flood.service", UNIT);
    let wants = "vservers/flood/etc/systemd/system/sysinit.target.wants";
    let wants = fleet.dir.join(wants);
    std::fs::create_dir_all(&wants).expect("a directory");
    symlink("../flood.service", wants.join("flood.service")).expect("a link");
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
    boot.step("is booted");
    without_the_volume_group_they_fail(&rehearsal);
    let ssh = rehearsal.ssh(&fleet);
    the_host_itself_is_fine(&ssh);
    with_the_volume_group_they_come_up_in_order(&ssh);
    applying_again_formats_nothing(&ssh);
    boot.step("floods XenStore");
    a_guest_that_floods_xenstore_disturbs_nobody(&ssh);
    boot.step("copies a volume");
    a_volume_is_copied_while_its_domu_runs_and_restored_when_not(&ssh);
    drop(ssh);
    assert_eq!(rehearsal.end(), Some(1));
}

fn without_the_volume_group_they_fail(rehearsal: &Rehearsal) {
    let report = &rehearsal.report;
    assert_eq!(report["firmware"], "uefi");
    assert_eq!(report["ok"], false, "{report:#}");
    assert_eq!(report["reason"], "2 of 3 domUs failed");
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

/// Its quota is full, and it goes on: it is said to be ill, the others run and start anew, the agent does not grow.
fn a_guest_that_floods_xenstore_disturbs_nobody(ssh: &Ssh) {
    let agent = "/proc/$(systemctl show --property=MainPID --value domus-dom0.service)";
    let files = format!("ls {agent}/fd | wc -l");
    let (before, had) = (host::traces(ssh), ssh.ok(&files));
    ssh.ok("domus-dom0 start flood");
    let id = host::traces(ssh).domains["flood"];
    let node = format!("/local/domain/{id}/data");
    let last = format!("{node}/flood/900");
    ssh.ok(&format!(
        "for look in $(seq 140); do ! {} || exit 0; sleep 2; done; exit 1",
        exists(&last)
    ));
    let report = format!("xenstore-read {node}/domus/report | md5sum; sleep 5");
    assert_ne!(ssh.ok(&report), ssh.ok(&report), "it goes on");
    let beyond = ssh.run(&exists(&format!("{node}/flood/1100")));
    assert_eq!(beyond.code, Some(1), "it has a quota");
    assert_eq!(ssh.ok("xenstore-read /local/domain/0/name"), "Domain-0\n");

    let shown = ssh.ok("domus-dom0 status --json");
    let status: Value = serde_json::from_str(&shown).expect("JSON");
    let flood = domu(&status, "flood");
    assert_eq!(flood["state"], "degraded", "{flood:#}");
    for shown in [
        shown,
        ssh.ok("domus-dom0 status"),
        ssh.ok("domus-dom0 list"),
    ] {
        let is_text = |c: char| c == '\n' || !c.is_control();
        assert!(shown.chars().all(is_text), "{shown:?}");
    }
    // Its guest would need minutes to end: the flood takes one of two emulated CPUs, and XenStore's daemon much of the other.
    ssh.ok("domus-dom0 stop web --force");
    ssh.ok("domus-dom0 start web");
    host::wait_until_up(ssh, &["db", "web"]);
    assert_eq!(ssh.ok(&files), had, "files that the agent has open");
    // Of the libraries its share: others use them, too.
    let memory = format!("awk '/^Pss:/ {{ print $2 }}' {agent}/smaps_rollup");
    let memory: u32 = ssh.ok(&memory).trim().parse().expect("KiB");
    assert!(memory < 20 << 10, "the agent has {memory} KiB");

    ssh.ok("domus-dom0 stop flood --force");
    let after = host::traces(ssh);
    assert_eq!(after.counts(), before.counts());
    assert_eq!(after.domains["db"], before.domains["db"], "it ran on");
    let left = ssh.run(&exists(&format!("/local/domain/{id}")));
    assert_eq!(left.code, Some(1), "nothing of it is left");
}

fn exists(node: &str) -> String {
    format!("xenstore-read {node} >/dev/null 2>&1")
}
