// SPDX-License-Identifier: GPL-3.0-or-later
//! Commits that are taken while a host runs: in a mount namespace, with real overlays. `systemctl`
//! and its like only write down that they were called.

mod common;
mod fleet;
mod taken;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Child, Stdio};
use std::time::Duration;

use fleet::{Fleet, run, text};
use serde_json::{Value, json};
use taken::{MOTD, live};

/// A process that ends with the test.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A commit with something of everything.
fn much(fleet: &Fleet) -> String {
    let drop_in = |name: &str| format!("pservers/alpha/etc/ssh/sshd_config.d/{name}.conf");
    fleet.publish(&[
        (MOTD, Some("new\n")),
        ("pservers/alpha/etc/issue", None),
        (&drop_in("a"), Some("Port 22\n")),
        (&drop_in("b"), Some("Port 2222\n")),
        ("pservers/alpha/etc/fstab", Some("#\n")),
        ("global/hosts", Some("192.0.2.1 new\n")),
    ])
}

#[test]
fn a_commit_is_taken_while_the_host_runs() {
    let fleet = live("LIVE");
    let first = fleet.running();
    let second = much(&fleet);
    let pulled = fleet.clean(&["pull"]);
    for line in [
        "  dom0    systemctl try-reload-or-restart ssh.service\n",
        "  web     runs\n",
        "  reboot  /etc/fstab added: it waits",
    ] {
        assert!(pulled.stdout.contains(line), "{pulled:?}");
    }
    assert_eq!(fleet.log(), ["systemctl try-reload-or-restart ssh.service"]);
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("new\n"));
    assert_eq!(fleet.read("etc/issue"), None);
    let profile = fleet.read("etc/profile.d/a.sh");
    assert_eq!(profile.as_deref(), Some("a\n"));
    let hosts = fleet.read("config/global/hosts");
    assert_eq!(hosts.as_deref(), Some("192.0.2.1 new\n"));
    let local = fleet.read("config/local/etc/motd");
    assert_eq!(local.as_deref(), Some("new\n"));
    let space = fleet.host.space.as_ref().expect("booted");
    for path in ["etc", "config/local", "config/global"] {
        assert_eq!(space.mounts(path), 1, "{path}");
    }

    let status = fleet.status();
    assert_eq!(
        (&status["commit"], &status["booted"], &status["next"]),
        (&json!(second), &json!(first), &Value::Null)
    );
    assert_eq!(status["reboot"], json!(["/etc/fstab added"]));
    let table = fleet.clean(&["generations"]).stdout;
    assert!(
        table.contains("runs        a change") && table.contains("was booted"),
        "{table}"
    );
    let said = fleet.clean(&["explain", "/etc/motd"]).stdout;
    assert!(said.contains(&second[..7]), "{said}");

    let before = fleet.read("run/domus/applied.json");
    let again = fleet.clean(&["apply"]);
    assert!(again.stdout.contains(&second[..7]), "{again:?}");
    assert_eq!(fleet.log(), [""; 0], "nothing is run again");
    assert_eq!(fleet.read("run/domus/applied.json"), before);
}

#[test]
fn what_was_taken_goes_back_as_it_was() {
    let fleet = live("LIVE");
    let first = fleet.running();
    much(&fleet);
    fleet.clean(&["pull"]);
    fleet.log();
    let back = fleet.clean(&["rollback"]);
    assert_eq!(fleet.log(), ["systemctl try-reload-or-restart ssh.service"]);
    assert!(back.stdout.contains("ssh.service"), "{back:?}");
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("old\n"));
    assert_eq!(fleet.read("etc/issue").as_deref(), Some("issue\n"));
    assert_eq!(fleet.read("etc/ssh/sshd_config.d/a.conf"), None);
    let status = fleet.status();
    assert_eq!(
        (&status["commit"], &status["reboot"]),
        (&json!(first), &json!([]))
    );
    assert_eq!(fleet.names("run/domus/etc"), ["2"]);
    assert_eq!(fleet.names("run/domus/commits"), [""; 0]);
}

#[test]
fn whoever_has_the_old_one_open_keeps_it() {
    let fleet = live("LIVE");
    let etc = text(&fleet.host.at("etc"));
    let space = fleet.host.space.as_ref().expect("booted");
    let mut shell = space.command("sh");
    shell.args(["-c", &format!("cd {etc} && cat motd && exec sleep 1000")]);
    let shell = Sleeper(shell.stdout(Stdio::null()).spawn().expect("a shell"));
    // A service that has a namespace of its own sees the new one.
    let mut service = space.command("unshare");
    service.args(["--mount", "--propagation", "slave", "sleep", "1000"]);
    let service = Sleeper(service.spawn().expect("a service"));
    std::thread::sleep(Duration::from_millis(500));
    fleet.motd("new\n");
    fleet.clean(&["pull"]);
    let read = |path: String| fs::read_to_string(path).expect("read");
    let of_service = read(format!("/proc/{}/root{etc}/motd", service.0.id()));
    let of_shell = read(format!("/proc/{}/cwd/motd", shell.0.id()));
    assert_eq!((of_service.as_str(), of_shell.as_str()), ("new\n", "old\n"));

    assert!(fleet.host.at("run/domus/layers").is_dir());
    drop((shell, service));
    fleet.clean(&["apply"]);
    assert!(!fleet.host.at("run/domus/layers").exists());
    assert!(!fleet.host.at("run/domus/rw/etc").exists());
    let booted = fleet.host.at("run/domus/slice");
    assert!(booted.is_dir(), "it is what was booted");
}

#[test]
fn what_was_changed_on_the_host_stays() {
    let fleet = live("LIVE");
    let seen = |path: &str| fleet.host.seen(path);
    fs::write(seen("etc/motd"), "by hand\n").expect("written");
    fs::write(seen("etc/own.conf"), "own\n").expect("written");
    chown(seen("etc/own.conf"), Some(7), Some(8)).expect("given away");
    fs::set_permissions(seen("etc/own.conf"), fs::Permissions::from_mode(0o640)).expect("set");
    fs::remove_file(seen("etc/issue")).expect("removed");
    fleet.publish(&[
        (MOTD, Some("new\n")),
        ("pservers/alpha/etc/profile.d/a.sh", Some("b\n")),
    ]);
    assert_eq!(fleet.host.run(&["pull", "--no-apply"]).code, 0);
    let plan = fleet.host.run(&["plan"]);
    assert_eq!(plan.code, 2, "{plan:?}");
    assert_eq!(plan.stdout.matches("CONFLICT").count(), 1, "{plan:?}");
    assert_eq!(
        fleet.read("etc/profile.d/a.sh").as_deref(),
        Some("a\n"),
        "a plan does nothing"
    );

    let applied = fleet.host.run(&["apply"]);
    assert_eq!(applied.code, 3, "{applied:?}");
    let line = "CONFLICT /etc/motd stays as it was changed on the host\n";
    assert!(applied.stdout.contains(line), "{applied:?}");
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("by hand\n"));
    assert_eq!(fleet.read("etc/profile.d/a.sh").as_deref(), Some("b\n"));
    assert_eq!(fleet.read("etc/issue"), None);
    let own = seen("etc/own.conf").metadata().expect("carried");
    assert_eq!((own.uid(), own.gid(), own.mode() & 0o7777), (7, 8, 0o640));
    // It is said as long as it is so, and is no error.
    fleet.clean(&["apply"]);
    let plan = fleet.host.run(&["plan"]);
    assert!(
        plan.stdout
            .contains("/etc/motd is not as the commit has it"),
        "{plan:?}"
    );
    let explained = fleet.clean(&["explain", "/etc/motd"]).stdout;
    assert!(
        explained.contains("It was changed since the boot"),
        "{explained}"
    );

    let forced = fleet.clean(&["apply", "--force"]);
    assert!(!forced.stdout.contains("CONFLICT"), "{forced:?}");
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("new\n"));
    assert_eq!(fleet.read("etc/own.conf").as_deref(), Some("own\n"));
    assert_eq!(fleet.read("etc/issue"), None, "nobody else changed it");
    assert_eq!(fleet.clean(&["plan"]).stdout.matches("CONFLICT").count(), 0);
}

#[test]
fn a_secret_is_opened_with_the_hosts_own_key() {
    let fleet = live("LIVE");
    let key = fleet.host.at("config/state/ssh/ssh_host_ed25519_key");
    fs::create_dir_all(key.parent().expect("a parent")).expect("made");
    let key = text(&key);
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &key],
    );
    let public = fs::read_to_string(format!("{key}.pub")).expect("read");
    let recipient = public.trim().parse().expect("a key");
    let secret = domus_system::secret::make(b"hello\n", &[recipient]).expect("made");
    let path = fleet.work.join("pservers/alpha/etc/token.age");
    fs::write(path, secret).expect("written");
    let host = fs::read_to_string(fleet.work.join("pservers/alpha/host.toml")).expect("read");
    let machine = format!("[machine]\nkey = \"{}\"\n", public.trim());
    fleet.publish(&[
        (
            "pservers/alpha/host.toml",
            Some(&host.replace("[machine]\n", &machine)),
        ),
        (
            "pservers/alpha/etc.toml",
            Some("version = 1\nsecret = [\"token.age\"]\n"),
        ),
    ]);
    fleet.clean(&["pull"]);
    assert_eq!(fleet.read("etc/token").as_deref(), Some("hello\n"));
    assert_eq!(
        fleet
            .host
            .seen("etc/token")
            .metadata()
            .expect("there")
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn a_service_that_fails_is_named_and_one_that_is_not_there_is_not_missed() {
    let fleet = live("LIVE");
    fleet.publish(&[
        ("pservers/alpha/etc/sysctl.d/a.conf", Some("x\n")),
        ("pservers/alpha/etc/ssh/sshd_config", Some("x\n")),
    ]);
    fleet
        .host
        .write("fails", "try-reload-or-restart ssh.service\n");
    let pulled = fleet.host.run(&["pull", "--json"]);
    assert_eq!(pulled.code, 1, "{pulled:?}");
    let ran = &pulled.json()["applied"]["ran"];
    let failure = ran[0]["failure"].as_str().expect("a failure");
    assert!(failure.contains("it is broken"), "{ran}");
    assert_eq!(
        ran[1],
        json!({
            "command": "systemctl try-restart systemd-sysctl.service", "failure": null,
        })
    );
    assert_eq!(fleet.log().len(), 2);
    // One that is not there is not missed.
    fleet.host.write("gone", "ssh.service\n");
    fleet.clean(&["apply"]);
    assert_eq!(fleet.status()["failures"], json!([]));
}

#[test]
fn a_failure_is_tried_again() {
    let fleet = live("LIVE");
    fleet.publish(&[("pservers/alpha/etc/ssh/sshd_config", Some("x\n"))]);
    fleet
        .host
        .write("fails", "try-reload-or-restart ssh.service\n");
    assert_eq!(fleet.host.run(&["pull"]).code, 1);
    assert_eq!(fleet.log().len(), 1);
    let reload = "systemctl try-reload-or-restart ssh.service";
    assert_eq!(fleet.status()["failures"], json!([reload]));
    assert_eq!(fleet.host.run(&["plan"]).code, 2);
    fs::remove_file(fleet.host.at("fails")).expect("removed");
    fleet.clean(&["apply"]);
    assert_eq!(fleet.log(), [reload]);
    assert_eq!(fleet.status()["failures"], json!([]));
    assert_eq!(
        fleet
            .clean(&["plan"])
            .stdout
            .matches("Nothing to do.")
            .count(),
        1
    );
}

#[test]
fn nothing_is_taken_until_somebody_says_so() {
    let fleet = live("REMOTE");
    let first = fleet.running();
    let second = fleet.motd("new\n");
    let pulled = fleet.clean(&["pull"]);
    assert!(
        pulled.stdout.ends_with("takes it before that.\n"),
        "{pulled:?}"
    );
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("old\n"));
    let status = fleet.status();
    assert_eq!(
        (&status["commit"], &status["next"]),
        (&json!(first), &json!(second))
    );
    // Neither at boot, nor for one domU.
    fleet.clean(&["apply", "--no-take"]);
    fleet.clean(&["apply", "web"]);
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("old\n"));
    let plan = fleet.host.run(&["plan", "--json"]);
    assert_eq!((plan.code, &plan.json()["to"]), (2, &json!(second)));
    fleet.clean(&["apply"]);
    assert_eq!(fleet.read("etc/motd").as_deref(), Some("new\n"));
}

#[test]
fn domus_are_restarted_as_the_fleet_says() {
    let fleet = live("LIVE");
    fleet.web("128MiB");
    let pulled = fleet.clean(&["pull", "--json"]).json();
    let applied = &pulled["applied"];
    assert_eq!(
        (&applied["waiting"], &applied["kept"]),
        (&json!(["web"]), &json!(["web"]))
    );
    assert_eq!(applied["started"], json!([]));
    assert_eq!(fleet.status()["waiting"], json!(["web"]));
    // It waits through other commits.
    fleet.motd("new\n");
    assert_eq!(
        fleet.clean(&["pull", "--json"]).json()["applied"]["waiting"],
        json!(["web"])
    );
    let by_hand = fleet.clean(&["apply", "--restart"]);
    for line in ["web     stopped\n", "web     started as domain 2\n"] {
        assert!(by_hand.stdout.contains(line), "{by_hand:?}");
    }
    let note = fs::read(fleet.host.at("run/domus/domus/web/record.json")).expect("a note");
    let note: Value = serde_json::from_slice(&note).expect("JSON");
    assert_eq!(note["commit"], fleet.running());

    let fleet = live("LIVE\napply = \"restart\"");
    fleet.web("128MiB");
    let applied = fleet.clean(&["pull", "--json"]).json()["applied"].clone();
    assert_eq!(applied["started"], json!([{"name": "web", "id": 2}]));
    assert_eq!(
        (&applied["stopped"], &applied["waiting"]),
        (&json!(["web"]), &json!([]))
    );
}

#[test]
fn one_that_is_gone_is_shut_down_and_one_that_is_new_is_started() {
    let fleet = live("LIVE");
    fleet.host.write("config/volumes/web.data.img", "data");
    let new = "version = 1\nimage = \"base@1\"\nmemory = \"96MiB\"\n";
    fleet.publish(&[
        ("pservers/alpha/domUs/web.toml", None),
        ("pservers/alpha/domUs/cache.toml", Some(new)),
    ]);
    let applied = fleet.clean(&["pull", "--json"]).json()["applied"].clone();
    assert_eq!(applied["stopped"], json!(["web"]));
    assert_eq!(applied["started"], json!([{"name": "cache", "id": 2}]));
    assert!(fleet.host.at("config/volumes/web.data.img").is_file());
    assert_eq!(applied["strays"], json!([]));
}

#[test]
fn what_is_changed_again_and_again_leaves_nothing_behind() {
    let fleet = live("LIVE");
    fs::write(fleet.host.seen("etc/own.conf"), "own\n").expect("written");
    for number in 0..4 {
        let motd = format!("{number}\n");
        fleet.motd(&motd);
        fleet.clean(&["pull"]);
        assert_eq!(fleet.read("etc/motd"), Some(motd));
        assert_eq!(fleet.read("etc/own.conf").as_deref(), Some("own\n"));
    }
    assert_eq!(fleet.names("run/domus/etc"), ["4"]);
    assert_eq!(fleet.names("run/domus/commits"), [fleet.running()]);
    assert_eq!(
        fleet.host.space.as_ref().map(|space| space.mounts("etc")),
        Some(1)
    );
}
