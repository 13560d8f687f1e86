// SPDX-License-Identifier: GPL-3.0-or-later
//! Guests that take another configuration while they run: a host in a mount namespace with real overlays
//! and a real loop device; who answers for the guest is the test.

mod common;
mod fleet;
mod taken;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::Ran;
use domus_model::report::{Refreshed, Report};
use domus_system::loopdev;
use fleet::{Fleet, text};
use serde_json::{Value, json};
use taken::live;

/// Where dom0 tells the guest of domain 1 to take another configuration.
const REFRESH: &str = "/local/domain/1/domus/refresh";

/// Lets web's guest, which takes another configuration while it runs, have a config disk.
fn attended(fleet: &Fleet) -> PathBuf {
    let disk = fleet.host.at("run/domus/domus/web/config.tar");
    fs::create_dir_all(disk.parent().expect("a parent")).expect("made");
    let file = fs::File::create(&disk).expect("made");
    file.set_len(16 << 20).expect("sized");
    let device = loopdev::attach(&disk, true).expect("a loop device");
    let vbd = "/local/domain/0/backend/vbd/1/51728";
    fleet.host.store.set(&format!("{vbd}/dev"), "xvdb");
    fleet
        .host
        .store
        .set(&format!("{vbd}/params"), &text(&device));
    fleet.host.store.set("/local/domain/1/name", "web");
    fleet.host.says(1, |report| {
        report.commit = fleet.running();
        report.refreshes = true;
    });
    device
}

/// Runs `command` while web's guest is told something; it answers as `says`. Returns what it was told,
/// with what the config disk had then.
fn answered(
    fleet: &Fleet,
    device: &Path,
    command: &[&str],
    says: impl FnOnce(&mut Report) + Send,
) -> (Ran, Value, Value) {
    let before = fleet.host.store.get(REFRESH);
    std::thread::scope(|scope| {
        let guest = scope.spawn(|| {
            let told = (0..1200).find_map(|_| {
                std::thread::sleep(Duration::from_millis(50));
                fleet
                    .host
                    .store
                    .get(REFRESH)
                    .filter(|it| Some(it) != before.as_ref())
            });
            let told: Value = serde_json::from_str(&told.expect("told")).expect("JSON");
            let disk = fs::File::open(device).expect("opened");
            let mut disk = tar::Archive::new(disk);
            let mut document = disk
                .entries()
                .expect("entries")
                .next()
                .expect("one")
                .expect("read");
            assert_eq!(document.path().expect("a path"), Path::new("domu.json"));
            let document: Value = serde_json::from_reader(&mut document).expect("JSON");
            fleet.host.says(1, |report| {
                report.refreshes = true;
                report.commit = text(Path::new(told["commit"].as_str().expect("a commit")));
                report.refreshed = Some(Refreshed {
                    id: told["id"].as_u64().expect("a number"),
                    failure: None,
                });
                says(report);
            });
            (told, document)
        });
        let ran = fleet.host.run(command);
        let (told, document) = guest.join().expect("the guest");
        (ran, told, document)
    })
}

#[test]
fn a_guest_takes_another_configuration_while_it_runs() {
    let fleet = live("LIVE");
    let device = attended(&fleet);
    let drop_in = "vservers/web/etc/ssh/sshd_config.d/a.conf";
    let second = fleet.publish(&[(drop_in, Some("Port 22\n"))]);
    let (ran, told, document) = answered(&fleet, &device, &["pull", "--json"], |_| ());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        (&told["commit"], &document["commit"]),
        (&json!(second), &json!(second))
    );
    assert_eq!(told["run"], json!([{"reload": "ssh.service"}]));
    let applied = ran.json()["applied"].take();
    let taken = json!([{"name": "web", "taken": true, "failure": null}]);
    assert_eq!(
        (&applied["refreshed"], &applied["waiting"]),
        (&taken, &json!([]))
    );
    assert_eq!(
        fleet.log(),
        Vec::<String>::new(),
        "nothing is run in dom0 for it"
    );
    let status = fleet.status();
    assert_eq!(
        (&status["refresh"], &status["waiting"]),
        (&json!([]), &json!([]))
    );
    let record = fs::read(fleet.host.at("run/domus/domus/web/record.json")).expect("a record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    assert_eq!(record["commit"], second);

    // One that cannot take it says why, is asked again, and then its service does not start.
    let third = fleet.publish(&[(drop_in, Some("Port 23\n"))]);
    let (ran, told, _) = answered(&fleet, &device, &["pull"], |report| {
        report.commit = second.clone();
        report.refreshed.as_mut().expect("an answer").failure = Some("RAM is full".into());
    });
    assert_eq!((ran.code, &told["commit"]), (1, &json!(third)), "{ran:?}");
    let line = "  web     runs, and did not take its new configuration; FAILED: RAM is full\n";
    assert!(ran.stdout.contains(line), "{ran:?}");
    assert_eq!(fleet.status()["refresh"], json!(["web"]));
    let line = "with an older configuration: web; `domus-dom0 apply` gives them the new one\n";
    assert!(fleet.clean(&["status"]).stdout.contains(line));
    let (ran, ..) = answered(&fleet, &device, &["apply"], |report| {
        report.refreshed.as_mut().expect("an answer").failure = Some("ssh.service".into());
    });
    assert_eq!(ran.code, 1, "{ran:?}");
    let line = "  web     runs, and has its new configuration; FAILED: ssh.service\n";
    assert!(ran.stdout.contains(line), "{ran:?}");
    assert_eq!(fleet.status()["refresh"], json!([]));

    // What needs a restart waits for that, and so does all that comes with it.
    fleet.set_web("128MiB");
    fleet.publish(&[(drop_in, Some("Port 24\n"))]);
    let before = fleet.host.store.get(REFRESH);
    let applied = fleet.clean(&["pull", "--json"]).json()["applied"].take();
    assert_eq!(
        (&applied["refreshed"], &applied["waiting"]),
        (&json!([]), &json!(["web"]))
    );
    assert_eq!(fleet.host.store.get(REFRESH), before);
    loopdev::detach(&device).expect("detached");
}

#[test]
fn an_image_that_takes_nothing_while_it_runs_waits_for_a_restart() {
    let fleet = live("LIVE");
    fleet.publish(&[("vservers/web/etc/motd", Some("hello\n"))]);
    let applied = fleet.clean(&["pull", "--json"]).json()["applied"].take();
    assert_eq!(
        (&applied["refreshed"], &applied["waiting"]),
        (&json!([]), &json!(["web"]))
    );
    assert_eq!(fleet.host.store.get(REFRESH), None);
}
