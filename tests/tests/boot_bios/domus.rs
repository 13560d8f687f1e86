// SPDX-License-Identifier: GPL-3.0-or-later
//! Its domUs: left alone, stopped, without their image, started; and what their volumes then have.

use crate::config;
use domus_tests::boots::Boot;
use domus_tests::ext4::Ext4;
use domus_tests::fleet::WITNESS;
use domus_tests::host;
use domus_tests::rehearsal::domu;
use domus_tests::ssh::Ssh;
use serde_json::{Value, json};

const ROOT_IMAGE: &str = "/config/images/base@1/root.img";
const WEB_VOLUME: &str = "/config/volumes/web.data.img";

pub(crate) fn applying_again_changes_nothing(ssh: &Ssh) {
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
pub(crate) struct Before {
    /// Of its volume's file systems.
    identity: String,
    traces: host::Traces,
}

pub(crate) fn a_domu_stops_with_its_volume(ssh: &Ssh) -> Before {
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

/// A copy proves that it is whole, and takes the place of a volume that somebody ruined.
pub(crate) fn its_volume_is_copied_and_restored(ssh: &Ssh) {
    const COPY: &str = "/config/web.copy";
    let digest = || ssh.ok(&format!("sha256sum {WEB_VOLUME}"));
    let before = digest();
    ssh.run("domus-dom0 volume backup db/data --to /config/db.copy")
        .exits(3);
    ssh.ok(&format!("domus-dom0 volume backup web/data --to {COPY}"));
    ssh.ok(&format!(
        "dd if=/dev/urandom of={WEB_VOLUME} bs=64k count=1 seek=1 conv=notrunc status=none"
    ));
    assert_ne!(digest(), before);
    let cut = format!("head -c -1 {COPY} | domus-dom0 volume restore web/data");
    ssh.run(&cut).exits(1);
    assert_ne!(digest(), before, "it is as it was");
    ssh.ok(&format!("domus-dom0 volume restore web/data --from {COPY}"));
    assert_eq!(digest(), before);
    ssh.ok(&format!("rm {COPY}"));
    let listed = ssh.ok("domus-dom0 volume list");
    assert!(
        listed.contains("web.data  web   data  file  64MiB  -"),
        "{listed}"
    );
}

pub(crate) fn a_missing_image_holds_up_nobody_else(ssh: &Ssh) {
    let db = ssh.ok("virsh -q -c xen:///system domid db");
    ssh.ok(&format!("mv {ROOT_IMAGE} {ROOT_IMAGE}.aside"));
    let before = host::traces(ssh);
    assert_eq!(ssh.run("domus-dom0 start web").code, Some(1));
    // It is tried again, now and then; in between it waits.
    let mut looks = std::iter::repeat_with(|| ssh.status()).take(30);
    let status = looks.find(|status| domu(status, "web")["reason"].is_string());
    let status = status.expect("web waits");
    let web = domu(&status, "web");
    let reason = web["reason"].as_str().expect("a reason");
    for text in ["base@1", ROOT_IMAGE, "No such file"] {
        assert!(reason.contains(text), "{reason}");
    }
    assert_eq!(domu(&status, "db")["state"], "up");
    let (reason, _) = reason.split_once("; tried again").unwrap_or((reason, ""));
    let mut tables = std::iter::repeat_with(|| ssh.ok("domus-dom0 status")).take(30);
    assert!(
        tables.any(|table| table.contains(reason)),
        "no table has: {reason}"
    );
    // apply tries it again, and fails with the same.
    assert_eq!(ssh.run("domus-dom0 apply").code, Some(1));
    assert_eq!(host::traces(ssh), before, "nothing is left of an attempt");
    ssh.ok(&format!("mv {ROOT_IMAGE}.aside {ROOT_IMAGE}"));
    let now = ssh.ok("virsh -q -c xen:///system domid db");
    assert_eq!(now, db, "the other one ran all the time");
}

/// An operator starts it, and libvirt is killed in the middle of that. Nobody helps.
pub(crate) fn it_starts_as_it_was(ssh: &Ssh, before: &Before) {
    // libxl has begun with the domain once XenStore has it. Whether the operator hears that it was
    // started depends on when libvirt is there again.
    ssh.ok(
        "systemd-run -q --collect domus-dom0 start web; for look in $(seq 600); do \
         for id in $(xenstore-list /local/domain); do \
         [ \"$(xenstore-read /local/domain/$id/name 2>/dev/null)\" = web ] && break 2; done; \
         sleep 0.05; done; systemctl kill --signal=KILL libvirtd",
    );
    host::wait_until_up(ssh, &["db", "web"]);
    let identity = ssh.ok(&host::identity(WEB_VOLUME));
    assert_eq!(identity, before.identity, "formatted again");
    nothing_is_left_but_what_was_there(&host::traces(ssh), &before.traces, "db");
    assert_eq!(
        ssh.ok("systemctl is-active domus-dom0 libvirtd"),
        "active\nactive\n"
    );
}

/// Seconds until the agent is killed again, so often as `DOMUS_KILLS` says, and the same each time: systemd starts it
/// after one, and then it works for up to 3.5.
fn pauses() -> String {
    let kills = std::env::var("DOMUS_KILLS").map_or(6, |kills| kills.parse().expect("a number"));
    // Knuth, MMIX.
    let next = |state: &u64| {
        let state = state.wrapping_mul(6_364_136_223_846_793_005);
        Some(state.wrapping_add(1_442_695_040_888_963_407))
    };
    let random = std::iter::successors(Some(2026_u64), next).skip(1);
    let pauses =
        random.map(|state| 1.0 + 3.5 * f64::from((state >> 40) as u32) / f64::from(1_u32 << 24));
    let pauses = pauses.map(|pause| format!("{pause:.2}"));
    pauses.take(kills).collect::<Vec<_>>().join(" ")
}

/// A domU runs anew, the `other` as it did, and nothing else is there but what was there before.
fn nothing_is_left_but_what_was_there(after: &host::Traces, before: &host::Traces, other: &str) {
    assert_eq!(
        after.domains[other], before.domains[other],
        "it ran all the time"
    );
    assert_eq!(
        after.files(),
        before.files(),
        "each file on one loop device"
    );
    assert_eq!(
        after.counts(),
        before.counts(),
        "{after:#?}\nbefore {before:#?}"
    );
}

/// Its domain is destroyed, then the agent while it makes another, again and again. What waited for
/// that takes effect.
pub(crate) fn it_comes_back_though_the_agent_is_killed(ssh: &Ssh) {
    let before = host::traces(ssh);
    ssh.ok("virsh -q -c xen:///system destroy db");
    let pauses = pauses();
    eprintln!("kills it after {pauses}");
    ssh.ok(&format!(
        "for pause in {pauses}; do sleep $pause; \
         systemctl kill --signal=KILL domus-dom0 || true; done"
    ));
    host::wait_until_up(ssh, &["db", "web"]);
    let after = host::traces(ssh);
    assert!(
        after.domains["db"] > before.domains["db"],
        "it is another run"
    );
    nothing_is_left_but_what_was_there(&after, &before, "web");
    assert_eq!(ssh.status()["waiting"], json!([]));
    let line = ssh.ok("virsh -q -c xen:///system dumpxml --xpath '//cmdline/text()' db");
    assert!(line.contains(config::NEXT_ARG), "{line}");
}

/// From outside, after the power is off: all starts of each, never formatted again.
pub(crate) fn each_volume_has_all_its_guest_wrote(boot: &Boot) {
    let dir = boot.path();
    let config = Ext4::in_partition(&dir.join("config-disk.img"));
    config.assert_clean();
    for (volume, mark, least) in [("web", "web web\n", 2), ("db", "db global\n", 2)] {
        let copy = dir.join(format!("{volume}.img"));
        config.copy_out(&format!("/volumes/{volume}.data.img"), &copy);
        let volume = Ext4::of(&copy);
        volume.assert_clean();
        let lines = volume.read(WITNESS);
        let starts = lines.matches(mark).count();
        assert!(starts >= least && lines == mark.repeat(starts), "{lines}");
    }
}
