// SPDX-License-Identifier: GPL-3.0-or-later
//! The main job: the ISO as CD on BIOS, real Xen, real domUs; then the agent in that very boot.

use domus_tests::boots::{self, Boot};
use domus_tests::console::Console;
use domus_tests::ext4::Ext4;
use domus_tests::fleet::{Fleet, WITNESS};
use domus_tests::host;
use domus_tests::iso9660::{self, Image};
use domus_tests::rehearsal::{Rehearsal, domu};
use domus_tests::ssh::Ssh;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// From power-on to all domUs, on a machine that emulates and does other things as well.
const LIMIT: Duration = Duration::from_secs(720);
/// From `systemctl poweroff` to the end of the machine.
const DOWN: Duration = Duration::from_secs(240);
const ROOT_IMAGE: &str = "/config/images/base@1/root.img";
/// What the group removes: a file of the image, and one that nobody has.
const ETC_OF_GROUP: &str = "version = 1\nremove = [\"debian_version\", \"never-there\"]\n";
const WEB_VOLUME: &str = "/config/volumes/web.data.img";

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
    // The one that is restarted is not the one that the emulator may kill (`boots::emulated`).
    let kind = "version = 1\nkind = \"pv\"\n";
    fleet.change("pservers/alpha/domUs/web.toml", "version = 1\n", kind);
    let [before, after] = ["kind    = \"pv\" ", "kind    = \"pvh\""];
    fleet.change("pservers/alpha/domUs/db.toml", before, after);
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
    etc_is_layered(&ssh, &commit);
    the_host_says_the_same(&ssh, &rehearsal);
    the_host_knows_its_generations_and_its_files(&ssh, &commit);
    boot.step("applies again");
    applying_again_changes_nothing(&ssh);
    boot.step("stops a domU");
    let before = a_domu_stops_with_its_volume(&ssh);
    boot.step("starts it without its image");
    a_missing_image_holds_up_nobody_else(&ssh);
    boot.step("starts it");
    it_starts_as_it_was(&ssh, &before);
    boot.step("pulls");
    a_commit_is_taken_while_the_host_runs(&ssh, &fleet, &commit);
    boot.step("alters the medium");
    an_altered_medium_is_said(&ssh, &fleet);
    boot.step("powers off");
    ssh.ok("systemctl poweroff");
    drop(ssh);
    the_host_goes_down_after_its_domus(rehearsal);
    boot.step("is off");
    each_volume_has_all_its_guest_wrote(boot.path());
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
        ("db", "pvh", 160, "00:16:3e:77:20:b1"),
    ] {
        let created = rehearsal.seconds("domu-created", Some(name));
        assert!(created >= last && rehearsal.seconds("domu-up", Some(name)) >= created);
        let expected = json!({
            "name": name, "state": "up", "kind": kind, "memory_mib": memory, "vcpus": 1,
            "macs": [mac], "image": "base@1", "commit": commit, "root_read_only": true,
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
    let mounts = ssh.ok("cat /proc/mounts");
    let root = mounts
        .lines()
        .find(|line| line.split(' ').nth(1) == Some("/"));
    let words: Vec<&str> = root.unwrap_or_default().split([' ', ',']).collect();
    assert!(
        words.contains(&"erofs") && words.contains(&"ro"),
        "{root:?}"
    );
    ssh.ok("touch /etc/x /var/x && rm /etc/x /var/x");
}

fn etc_is_layered(ssh: &Ssh, commit: &str) {
    assert_eq!(ssh.ok("readlink /etc/hosts").trim(), "/config/global/hosts");
    let template = domus_tests::workspace().join("config-repo-template/global/hosts");
    let hosts = std::fs::read_to_string(template).expect("the template's hosts");
    assert_eq!(ssh.ok("cat /etc/hosts"), hosts);
    for (path, content) in [
        ("/etc/domus-test", "global\n"),
        ("/etc/domus-both", "alpha\n"),
        ("/etc/domus-group", "@test\n"),
        ("/etc/domus-secret", "hidden\n"),
        ("/etc/hostname", "alpha\n"),
        ("/config/local/etc/domus-both", "alpha\n"),
    ] {
        assert_eq!(ssh.ok(&format!("cat {path}")), content, "{path}");
    }
    assert!(ssh.ok("cat /etc/motd").starts_with("alpha, a Xen host."));
    // Of the commit's hosts and domUs only what this host needs is here.
    assert_eq!(
        ssh.ok("ls /config/local"),
        "domUs\netc\netc.toml\nhost.toml\n"
    );
    assert_eq!(
        ssh.ok("stat -c '%U:%G %a' /etc/domus-secret"),
        "root:adm 640\n"
    );
    assert_eq!(ssh.run("test -e /etc/debian_version").code, Some(1));
    let record: Value = serde_json::from_str(&ssh.ok("cat /run/domus/boot.json")).expect("JSON");
    assert_eq!(
        (&record["commit"], &record["name"]),
        (&commit.into(), &"alpha".into())
    );
    assert_eq!(
        record["config"],
        json!({"device": "/dev/vda1", "bound_by": "DMI UUID"})
    );
    assert_eq!(
        record["release"],
        json!({"fleet": "example", "version": "1", "unsigned": true})
    );
    let layers = record["layers"].as_array().expect("layers");
    let names: Vec<&str> = layers
        .iter()
        .filter_map(|layer| layer["name"].as_str())
        .collect();
    assert_eq!(names, ["image", "generated", "global", "@test", "alpha"]);
    let problem = "@test removes /etc/never-there, which nothing below @test has";
    assert_eq!(record["problems"], json!([problem]));
    assert!(
        ssh.ok("domus-dom0 status")
            .ends_with(&format!("alpha: {problem}\n"))
    );
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
    for row in ["db    up     pvh   160 MiB", "web   up     pv    192 MiB"] {
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
}

fn the_host_knows_its_generations_and_its_files(ssh: &Ssh, commit: &str) {
    let json = |command: &str| -> Value { serde_json::from_str(&ssh.ok(command)).expect("JSON") };
    let judged = "timeout 120 sh -c 'until test -e /run/domus/judged; do sleep 1; done'";
    ssh.ok(judged);
    let health = json("domus-dom0 health --json");
    assert_eq!(
        (&health["healthy"], &health["on_trial"]),
        (&json!(true), &json!(false)),
        "{health}"
    );
    let generations = json("domus-dom0 generations --json");
    let generations = generations["generations"].as_array().expect("a list");
    assert_eq!(generations.len(), 1, "{generations:?}");
    let first = &generations[0];
    assert_eq!(
        (&first["number"], &first["commit"]),
        (&json!(1), &json!(commit))
    );
    // It was booted, and the host is healthy.
    assert_eq!(
        (&first["running"], &first["good"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        ssh.run("domus-dom0 pull").code,
        Some(1),
        "nothing is there yet"
    );
    assert_eq!(
        ssh.run("domus-dom0 rollback").code,
        Some(1),
        "there is nothing before"
    );

    let explain = "domus-dom0 explain /etc/domus-both --json";
    let both = json(explain);
    let sources: Vec<&Value> = both["says"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["source"])
        .collect();
    assert_eq!(
        sources,
        [
            "pservers/alpha/etc/domus-both",
            "global/etc/domus-both.tmpl"
        ]
    );
    assert_eq!(
        both["changes"]["pservers/alpha/etc/domus-both"]["commit"],
        commit
    );
    assert_eq!(both["since"], Value::Null);
    ssh.ok("echo more >> /etc/domus-both");
    assert_eq!(json(explain)["since"], "changed");
    ssh.ok("rm /etc/domus-both");
    assert_eq!(json(explain)["since"], "removed");
}

fn applying_again_changes_nothing(ssh: &Ssh) {
    let before = host::traces(ssh);
    for _ in 0..2 {
        let applied: Value =
            serde_json::from_str(&ssh.ok("domus-dom0 apply --json")).expect("JSON");
        assert_eq!(applied["started"], json!([]));
        assert_eq!(
            (&applied["failed"], &applied["kept"]),
            (&json!([]), &json!(["db", "web"]))
        );
        assert_eq!(host::traces(ssh), before);
    }
    assert_eq!(ssh.run("domus-dom0 plan").code, Some(0));
}

/// What there was of a domU before it was stopped.
struct Before {
    /// Of its volume's file systems.
    identity: String,
    traces: host::Traces,
}

fn a_domu_stops_with_its_volume(ssh: &Ssh) -> Before {
    let identity = ssh.ok(&host::identity(WEB_VOLUME));
    assert_eq!(identity.lines().count(), 2, "{identity}");
    let traces = host::traces(ssh);
    // Its guest restarts just then: it does not hear that it shall end, and is asked again.
    ssh.ok("virsh -q -c xen:///system reboot web");
    ssh.ok("domus-dom0 stop web --timeout 240");
    let status = ssh.status();
    assert_eq!(domu(&status, "web")["state"], "stopped");
    assert_eq!(domu(&status, "db")["state"], "up");
    let stopped = host::traces(ssh);
    assert!(
        stopped.is_without("web", &traces),
        "{stopped:?}\nafter {traces:?}"
    );
    // Before it restarted, and perhaps once more until it was heard.
    let witness = host::witness(ssh, WEB_VOLUME);
    assert!(
        ["web web\n", "web web\nweb web\n"].contains(&witness.as_str()),
        "{witness}"
    );
    // What was stopped by hand stays so, and says so.
    let applied = ssh.ok("domus-dom0 apply");
    assert!(
        applied.contains("`domus-dom0 start web` starts it"),
        "{applied}"
    );
    assert_eq!(domu(&ssh.status(), "web")["state"], "stopped");
    Before { identity, traces }
}

fn a_missing_image_holds_up_nobody_else(ssh: &Ssh) {
    let db = ssh.ok("virsh -q -c xen:///system domid db");
    ssh.ok(&format!("mv {ROOT_IMAGE} {ROOT_IMAGE}.aside"));
    let before = host::traces(ssh);
    assert_eq!(ssh.run("domus-dom0 start web").code, Some(1));
    let status = ssh.status();
    let web = domu(&status, "web");
    assert_eq!(web["state"], "failed");
    let reason = web["reason"].as_str().expect("a reason");
    for text in ["base@1", ROOT_IMAGE, "No such file"] {
        assert!(reason.contains(text), "{reason}");
    }
    assert_eq!(domu(&status, "db")["state"], "up");
    assert!(ssh.ok("domus-dom0 status").contains(reason));
    // apply tries it again, and fails with the same.
    assert_eq!(ssh.run("domus-dom0 apply").code, Some(1));
    assert_eq!(host::traces(ssh), before, "nothing is left of an attempt");
    ssh.ok(&format!("mv {ROOT_IMAGE}.aside {ROOT_IMAGE}"));
    let now = ssh.ok("virsh -q -c xen:///system domid db");
    assert_eq!(now, db, "the other one ran all the time");
}

fn it_starts_as_it_was(ssh: &Ssh, before: &Before) {
    ssh.ok("domus-dom0 start web");
    host::wait_until_up(ssh, &["db", "web"]);
    let identity = ssh.ok(&host::identity(WEB_VOLUME));
    assert_eq!(identity, before.identity, "formatted again");
    let again = host::traces(ssh);
    assert_eq!(
        again.files(),
        before.traces.files(),
        "each file on one loop device, as before"
    );
    assert_eq!(again.domains.len(), before.traces.domains.len());
}

fn a_commit_is_taken_while_the_host_runs(ssh: &Ssh, fleet: &Fleet, first: &str) {
    let daemon = "systemctl show --property=MainPID --value ssh.service";
    let web = "virsh -q -c xen:///system domid web";
    let before = [ssh.ok(daemon), ssh.ok(web)];
    fleet.write("pservers/alpha/etc/domus-live", "live\n");
    let drop_in = "pservers/alpha/etc/ssh/sshd_config.d/live.conf";
    fleet.write(drop_in, "MaxSessions 20\n");
    let second = fleet.commit();
    fleet.git(&["clone", "--quiet", "--bare", ".", "../next.git"]);
    let home = fleet.dir.parent().expect("a parent");
    let mut tar = std::process::Command::new("tar");
    tar.args(["--create", "next.git"]).current_dir(home);
    let tar = tar.output().expect("tar").stdout;
    ssh.send("tar --extract --no-same-owner --directory /config", tar);

    let pulled = ssh.ok("domus-dom0 pull");
    let reload = "systemctl try-reload-or-restart ssh.service";
    assert!(pulled.contains(reload), "{pulled}");
    assert_eq!(ssh.ok("cat /etc/domus-live"), "live\n");
    assert_eq!(ssh.ok("cat /config/local/etc/domus-live"), "live\n");
    assert_eq!(ssh.ok("cat /etc/domus-secret"), "hidden\n");
    assert_eq!(ssh.ok("grep -c ' /etc ' /proc/mounts"), "1\n");
    assert_eq!(
        [ssh.ok(daemon), ssh.ok(web)],
        before,
        "neither was restarted"
    );
    let status = ssh.status();
    assert_eq!(
        (&status["commit"], &status["booted"], &status["next"]),
        (&json!(second), &json!(first), &Value::Null)
    );
    // A file of `global` is in it that was not committed before: domUs read it when they start.
    assert_eq!(status["waiting"], json!(["db", "web"]));
    assert_eq!(ssh.ok("systemctl --failed --no-legend"), "");
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

/// From outside, after the power is off: all starts of each, never formatted again.
fn each_volume_has_all_its_guest_wrote(dir: &Path) {
    let config = Ext4::in_partition(&dir.join("config-disk.img"));
    config.assert_clean();
    for (volume, mark, least) in [("web", "web web\n", 2), ("db", "db global\n", 1)] {
        let copy = dir.join(format!("{volume}.img"));
        config.copy_out(&format!("/volumes/{volume}.data.img"), &copy);
        let volume = Ext4::of(&copy);
        volume.assert_clean();
        let lines = volume.read(WITNESS);
        let starts = lines.matches(mark).count();
        assert!(starts >= least && lines == mark.repeat(starts), "{lines}");
    }
}
