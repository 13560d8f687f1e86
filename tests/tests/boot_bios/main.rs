// SPDX-License-Identifier: GPL-3.0-or-later
//! The main job: the ISO as CD on BIOS, real Xen, real domUs; then the agent in that very boot.

mod config;
mod domus;

use domus_tests::boots::{self, Boot};
use domus_tests::console::Console;
use domus_tests::fleet::Fleet;
use domus_tests::iso9660::{self, Image};
use domus_tests::rehearsal::{Rehearsal, domu};
use domus_tests::ssh::Ssh;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// From power-on to all domUs, on a machine that emulates and does other things as well.
const LIMIT: Duration = Duration::from_secs(720);
/// From `systemctl poweroff` to the end of the machine.
const DOWN: Duration = Duration::from_secs(240);
/// What the group removes: a file of the image, and one that nobody has.
const ETC_OF_GROUP: &str = "version = 1\nremove = [\"debian_version\", \"never-there\"]\n";

#[test]
fn a_host_boots_from_cd_and_its_domus_come_up() {
    boots::emulated("bios", boots_from_cd);
}

fn boots_from_cd(boot: &Boot) {
    let fleet = Fleet::new(boot.path());
    fleet.write("global/etc/domus-test", "global\n");
    // A template, which a domU sees as its own name for it says.
    let both = "{% if domus.kind == 'domU' %}{{ seen }}{% else %}host{% endif %}\n";
    fleet.write("global/etc/domus-both.tmpl", both);
    fleet.write("groups/test/etc/domus-group", "@test\n");
    fleet.write("groups/test/etc.toml", ETC_OF_GROUP);
    fleet.change(
        "domus.toml",
        "version = 1\n",
        "version = 1\nvars.seen = \"global\"\n",
    );
    fleet.append("domus.toml", "\n[groups.test]\n");
    let remote = "remote = \"file:///config/next.git\"\nfollow = \"main\"\nevery = \"7d\"\n";
    fleet.append("domus.toml", &format!("\n[config]\n{remote}"));
    let groups = "version = 1\ngroups = [\"test\"]\n";
    fleet.change("pservers/alpha/host.toml", "version = 1\n", groups);
    fleet.write("pservers/alpha/etc/domus-both", "alpha\n");
    let key = fleet.host_key();
    fleet.secret("vservers/web/etc/domus-both", "web\n");
    fleet.secret("pservers/alpha/etc/domus-secret", "hidden\n");
    fleet.append(
        "pservers/alpha/etc.toml",
        "[files.domus-secret]\nowner = \"root:adm\"\nmode = \"0640\"\n",
    );
    // The emulator may kill those that are not paravirtualised (`boots::emulated`).
    let web = format!(
        "version = 1\nkind = \"pv\"\nhealth = \"{}\"\n",
        config::HEALTH
    );
    fleet.change("pservers/alpha/domUs/web.toml", "version = 1\n", &web);
    // An emulated guest was seen to need more than a minute.
    let patient = "version = 1\nstop-timeout = \"4m\"\n";
    fleet.change("pservers/alpha/domUs/db.toml", "version = 1\n", patient);
    fleet.witness("web", "/srv");
    fleet.witness("db", "/var/lib/db");
    let commit = fleet.commit();
    // What is not committed does not run.
    fleet.write("global/etc/domus-test", "not committed\n");
    boot.step("builds");
    fleet.build();
    boot.step("boots");
    let rehearsal = Rehearsal::start(&fleet, boot.path(), &["--host-key", &key], LIMIT);
    boot.step("looks");
    the_report_is_whole(&rehearsal, &commit);
    the_console_can_be_reached(&rehearsal);
    let ssh = rehearsal.ssh(&fleet);
    the_root_is_read_only(&ssh);
    config::etc_is_layered(&ssh, &commit);
    the_host_says_the_same(&ssh, &rehearsal);
    config::the_host_knows_its_generations_and_its_files(&ssh, &commit);
    boot.step("applies again");
    domus::applying_again_changes_nothing(&ssh);
    boot.step("stops a domU");
    let before = domus::a_domu_stops_with_its_volume(&ssh);
    boot.step("copies its volume");
    domus::its_volume_is_copied_and_restored(&ssh);
    boot.step("starts it without its image");
    domus::a_missing_image_holds_up_nobody_else(&ssh);
    boot.step("starts it, and libvirt is killed");
    domus::it_starts_as_it_was(&ssh, &before);
    boot.step("pulls");
    config::a_commit_is_taken_while_the_host_runs(&ssh, &fleet, &commit);
    boot.step("pulls what guests take");
    config::a_guest_takes_a_commit_while_it_runs(&ssh, &fleet);
    boot.step("kills the agent");
    domus::it_comes_back_though_the_agent_is_killed(&ssh);
    boot.step("alters the medium");
    an_altered_medium_is_said(&ssh, &fleet);
    boot.step("powers off");
    ssh.ok("systemctl poweroff");
    drop(ssh);
    the_host_goes_down_after_its_domus(rehearsal);
    boot.step("is off");
    domus::each_volume_has_all_its_guest_wrote(boot);
}

fn the_report_is_whole(rehearsal: &Rehearsal, commit: &str) {
    let report = &rehearsal.report;
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(report["reason"], Value::Null);
    assert_eq!(
        (&report["host"], &report["release"]),
        (&"alpha".into(), &"1".into())
    );
    assert_eq!(report["commit"], commit);
    assert_eq!(
        (&report["firmware"], &report["accelerator"]),
        (&"bios".into(), &"tcg".into())
    );
    assert_eq!(report["config_partition"], "/dev/vda1");
    let mut last = 0.0;
    for event in [
        "power-on",
        "xen",
        "dom0-kernel",
        "config-mounted",
        "etc-composed",
        "systemd",
    ] {
        let seconds = rehearsal.seconds(event, None);
        assert!(seconds >= last, "{event} at {seconds}, after {last}");
        last = seconds;
    }
    let domus = report["domus"].as_array().expect("domUs");
    assert_eq!(domus.len(), 2, "{domus:#?}");
    for (name, kind, memory, mac) in [
        ("web", "pv", 192, "00:16:3e:5a:01:07"),
        ("db", "pv", 160, "00:16:3e:77:20:b1"),
    ] {
        let created = rehearsal.seconds("domu-created", Some(name));
        assert!(created >= last && rehearsal.seconds("domu-up", Some(name)) >= created);
        let expected = json!({
            "name": name, "state": "up", "domain": rehearsal.domu(name)["domain"],
            "kind": kind, "memory_mib": memory, "vcpus": 1, "macs": [mac], "image": "base@1", "commit": commit, "root_read_only": true,
        });
        assert_eq!(*rehearsal.domu(name), expected);
    }
    let log = rehearsal.serial_log();
    for text in [
        "UNSIGNED: runs commits that nobody signed",
        "domus: config /dev/vda1, bound by DMI UUID",
        "domus: /etc image < generated < global < @test < alpha   ",
        "domus: starting systemd",
    ] {
        assert!(log.contains(text), "no {text:?} in the serial log");
    }
}

fn the_console_can_be_reached(rehearsal: &Rehearsal) {
    let path = rehearsal.report["console"].as_str().expect("a console");
    let stream = UnixStream::connect(path).expect("the console takes a connection");
    let mut console = Console::new(stream);
    console.send("");
    console.wait_for("alpha login: ", Duration::from_secs(90));
}

fn the_root_is_read_only(ssh: &Ssh) {
    for path in ["/x", "/usr/x"] {
        let ran = ssh.run(&format!("touch {path} 2>&1; mkdir {path} 2>&1"));
        assert_ne!(ran.code, Some(0), "{path}");
        let said = ran.stdout.matches("Read-only file system").count();
        assert_eq!(said, 2, "{ran:?}");
    }
    assert_eq!(ssh.ok("stat -c '%u %g %a' /").trim(), "0 0 755");
    let mounts = ssh.ok("cat /proc/mounts");
    let root = mounts
        .lines()
        .find(|line| line.split(' ').nth(1) == Some("/"));
    let words: Vec<&str> = root.unwrap_or_default().split([' ', ',']).collect();
    assert!(
        words.contains(&"squashfs") && words.contains(&"ro"),
        "{root:?}"
    );
    ssh.ok("touch /etc/x /var/x && rm /etc/x /var/x");
}

fn the_host_says_the_same(ssh: &Ssh, rehearsal: &Rehearsal) {
    let status = ssh.status();
    assert_eq!(status["host"], "alpha");
    assert_eq!(status["commit"], rehearsal.report["commit"]);
    assert_eq!(status["strays"], json!([]));
    for name in ["web", "db"] {
        assert_eq!(domu(&status, name), rehearsal.domu(name));
    }
    let table = ssh.ok("domus-dom0 status");
    for row in ["db    up     pv    160 MiB", "web   up     pv    192 MiB"] {
        assert!(table.contains(row), "{table}");
    }
    assert_eq!(ssh.ok("systemctl --failed --no-legend"), "");
    // A dom0 that hangs starts again.
    let watchdog = "systemctl show --property=WatchdogDevice --property=RuntimeWatchdogUSec";
    let watchdog = ssh.ok(watchdog);
    assert!(
        watchdog.contains("RuntimeWatchdogUSec=2min\n"),
        "{watchdog}"
    );
    assert!(
        watchdog.contains("WatchdogDevice=/dev/watchdog"),
        "{watchdog}"
    );
    let memory = ssh.ok("virsh -q -c xen:///system dominfo Domain-0 | grep ^Used");
    assert!(
        memory.contains("393216 KiB"),
        "dom0 gave back what it need not have: {memory}"
    );
    let said = ssh.ok("journalctl --boot --unit domus-dom0 --output cat");
    assert!(
        !said.contains("are missing"),
        "dom0 had not given it back yet: {said}"
    );
}

/// Somebody alters the medium under the host: whoever reads that gets an error, and status says so.
fn an_altered_medium_is_said(ssh: &Ssh, fleet: &Fleet) {
    let status = ssh.ok("domus-dom0 status");
    assert!(
        status.contains("\nboot unverified   root verified   clock "),
        "{status}"
    );
    let iso = fleet.iso();
    iso9660::flip(&iso, Image::open(&iso).a_module("DOMUS/ROOT.IMG"));
    let all = "find /usr/lib/modules -name '*.ko.xz' -exec cat {} + 2>&1 >/dev/null || true";
    let said = ssh.ok(&format!("echo 3 >/proc/sys/vm/drop_caches; {all}"));
    assert_eq!(
        said.matches("Input/output error").count(),
        1,
        "one file, and no other: {said}"
    );
    let status = ssh.ok("domus-dom0 status");
    assert!(
        status.contains("\nboot unverified   root CORRUPTED   clock "),
        "{status}"
    );
    assert!(
        status.contains("alpha: part of the root image is not as it was built"),
        "{status}"
    );
    assert_eq!(ssh.status()["root"], "corrupted");
}

fn the_host_goes_down_after_its_domus(rehearsal: Rehearsal) {
    let log = rehearsal.serial_log_path();
    assert_eq!(rehearsal.switched_off(DOWN), Some(0));
    let log = std::fs::read(log).expect("a serial log");
    let log = String::from_utf8_lossy(&log);
    let place = |text: &str| {
        let found = log.rfind(text);
        found.unwrap_or_else(|| panic!("no {text:?} at the end of the serial log"))
    };
    let domus = place("domus-shutdown.service");
    let libvirt = place("libvirtd.service");
    assert!(domus < libvirt && libvirt < place("reboot: Power down"));
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("FAILED")).collect();
    assert_eq!(failed, Vec::<&str>::new(), "of what systemd did");
}
