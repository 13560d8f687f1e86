// SPDX-License-Identifier: GPL-3.0-or-later
//! What its commit makes of it: layers of /etc, generations, and a commit that comes while it runs.

use domus_tests::fleet::Fleet;
use domus_tests::rehearsal::domu;
use domus_tests::ssh::Ssh;
use serde_json::{Value, json};

/// For the kernel of db, in the last commit.
pub(crate) const NEXT_ARG: &str = "domus-test=next";
const HOST: &str = "pservers/alpha/host.toml";
const DOM0: &str = "[dom0]\n";
/// What succeeds in web until a commit makes it ill.
pub(crate) const HEALTH: &str = "! grep -q sick /etc/domus-health";

pub(crate) fn etc_is_layered(ssh: &Ssh, commit: &str) {
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
        json!({"device": "/dev/vda1", "kind": "partition", "bound_by": "DMI UUID"})
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

pub(crate) fn the_host_knows_its_generations_and_its_files(ssh: &Ssh, commit: &str) {
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

pub(crate) fn a_commit_is_taken_while_the_host_runs(ssh: &Ssh, fleet: &Fleet, first: &str) {
    let daemon = "systemctl show --property=MainPID --value ssh.service";
    let before = ssh.ok(daemon);
    fleet.write("pservers/alpha/etc/domus-live", "live\n");
    // For guests as well, which have no sshd.
    let drop_in = "global/etc/ssh/sshd_config.d/live.conf";
    fleet.write(drop_in, "MaxSessions 20\n");
    let second = published(ssh, fleet);

    let pulled = ssh.ok("domus-dom0 pull");
    let reload = "systemctl try-reload-or-restart ssh.service";
    assert!(pulled.contains(reload), "{pulled}");
    assert_eq!(ssh.ok("cat /etc/domus-live"), "live\n");
    assert_eq!(ssh.ok("cat /config/local/etc/domus-live"), "live\n");
    assert_eq!(ssh.ok("cat /etc/domus-secret"), "hidden\n");
    assert_eq!(ssh.ok("grep -c ' /etc ' /proc/mounts"), "1\n");
    assert_eq!(ssh.ok(daemon), before, "it was not restarted");
    let status = ssh.status();
    assert_eq!(
        (&status["commit"], &status["booted"], &status["next"]),
        (&json!(second), &json!(first), &Value::Null)
    );
    // A file of `global` is in it that was not committed before: guests have taken it.
    for name in ["db", "web"] {
        let line = format!("  {name:<7} runs, and has its new configuration\n");
        assert!(pulled.contains(&line), "{pulled}");
        assert_eq!(domu(&status, name)["commit"], second);
    }
    assert_eq!(
        (&status["waiting"], &status["refresh"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(ssh.ok("systemctl --failed --no-legend"), "");
}

/// Commits what there is, and lets the host find it. Returns the commit.
fn published(ssh: &Ssh, fleet: &Fleet) -> String {
    let commit = fleet.commit();
    let home = fleet.dir.parent().expect("a parent");
    let _ = std::fs::remove_dir_all(home.join("next.git"));
    fleet.git(&["clone", "--quiet", "--bare", ".", "../next.git"]);
    let mut tar = std::process::Command::new("tar");
    tar.args(["--create", "next.git"]).current_dir(home);
    let tar = tar.output().expect("tar").stdout;
    let extract = "rm -rf /config/next.git && tar --extract --no-same-owner --directory /config";
    ssh.send(extract, tar);
    commit
}

/// web takes files while it runs, which its health command sees; db has to restart for all that is new.
pub(crate) fn a_guest_takes_a_commit_while_it_runs(ssh: &Ssh, fleet: &Fleet) {
    let domains = ["db", "web"].map(|name| format!("virsh -q -c xen:///system domid {name}"));
    let before = domains.each_ref().map(|command| ssh.ok(command));
    fleet.write("vservers/web/etc/domus-health", "sick\n");
    let args = format!("version = 1\nkernel-args = [\"{NEXT_ARG}\"]\n");
    fleet.change("pservers/alpha/domUs/db.toml", "version = 1\n", &args);
    dom0_has(ssh, "0-1 2048");
    fleet.change(HOST, DOM0, &format!("{DOM0}vcpus = 1\nweight = 1024\n"));
    published(ssh, fleet);
    let pulled = ssh.ok("domus-dom0 pull");
    let line = "  web     runs, and has its new configuration\n";
    assert!(pulled.contains(line), "{pulled}");
    let status = ssh.status();
    assert_eq!(status["waiting"], json!(["db"]));
    let web = domu(&status, "web");
    assert_eq!(web["state"], "degraded", "{web:#}");
    let reason = web["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("its health command fails: "), "{reason}");
    dom0_has(ssh, "0 1024");

    fleet.change(HOST, "vcpus = 1\nweight = 1024\n", "");
    fleet.write("vservers/web/etc/domus-health", "well\n");
    let commit = published(ssh, fleet);
    ssh.ok("domus-dom0 pull");
    let status = ssh.status();
    let web = domu(&status, "web");
    assert_eq!(
        (&web["state"], &web["commit"]),
        (&json!("up"), &json!(commit))
    );
    dom0_has(ssh, "0-1 2048");
    let after = domains.each_ref().map(|command| ssh.ok(command));
    assert_eq!(after, before, "they ran all the time");
}

/// Waits until dom0 has these CPUs and this weight: `pull` leaves them to who keeps domUs running.
fn dom0_has(ssh: &Ssh, expected: &str) {
    let weight = "xl sched-credit2 -d 0 | awk 'END { print $3 }'";
    let has = format!("$(cat /sys/devices/system/cpu/online) $({weight})");
    ssh.ok(&format!(
        "for look in $(seq 60); do has=\"{has}\"; [ \"$has\" != '{expected}' ] || exit 0; sleep 1; done; \
         echo \"$has\"; exit 1"
    ));
}
