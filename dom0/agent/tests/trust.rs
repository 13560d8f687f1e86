// SPDX-License-Identifier: GPL-3.0-or-later
//! Whom a host believes: stories of keys, targets and those who forge them, with keys, commits and
//! signatures as `ssh-keygen` and git make them.

mod common;
mod fleet;
mod signed;

use std::fs;
use std::process::Command;

use domus_model::trust::{Role, Target};
use domus_repo::TARGETS_REF;
use fleet::{run, server_of, text};
use signed::{EVERYTHING, Signed};

#[test]
fn a_target_is_followed_and_nothing_else() {
    let signed = Signed::new("");
    signed.nothing("nothing new");
    let second = signed.web("alice", "128MiB");
    signed.nothing("nothing new");
    signed.publish("alice", &second, &["*"]);
    signed.takes(&second);
    let status = signed.fleet.host.run(&["status"]).stdout;
    assert!(status.contains("follows targets"), "{status}");
    let table = signed.fleet.host.run(&["generations"]).stdout;
    assert!(table.contains("target"), "{table}");

    // A target for others, and one for this host before it.
    let third = signed.web("alice", "160MiB");
    signed.publish("alice", &third, &["beta", "@web"]);
    signed.nothing("nothing new");
    signed.publish("alice", &third, &["al*"]);
    signed.publish("alice", &third, &["beta"]);
    signed.takes(&third);
    // Back to an older commit is a newer target.
    signed.publish("alice", &second, &["*"]);
    signed.takes(&second);
    // What a person went back from is held until there is a newer one.
    assert_eq!(signed.fleet.host.run(&["rollback"]).code, 0);
    assert_eq!(signed.boots().0, third);
    signed.nothing("held");
    let fourth = signed.web("alice", "192MiB");
    signed.publish("alice", &fourth, &["*"]);
    signed.takes(&fourth);
}

#[test]
fn a_signed_commit_of_a_staging_branch_is_not_production() {
    let signed = Signed::new("");
    let staged = signed.web("alice", "128MiB");
    // Served where a target should be, as it is and with a target's document in it.
    signed.push(&staged);
    signed.refused("a commit");
    let (newest, _) = signed.newest.borrow().clone();
    let newest = newest.expect("a target");
    let document = signed
        .fleet
        .git(&["show", &format!("{newest}:{}", Target::PATH)]);
    let document = document.replace("serial = 1", "serial = 7");
    fs::write(signed.fleet.work.join(Target::PATH), document).expect("written");
    let posing = signed.commit("alice", "as if it were a target");
    signed.push(&posing);
    let pulled = signed.fleet.pull();
    assert_eq!(pulled.code, 1, "{pulled:?}");
    assert!(pulled.stderr.contains("which no target has"), "{pulled:?}");
    // Planted on the disk it is not booted either.
    let spec = format!("+{staged}:refs/domus/planted");
    signed.on_disk(&["fetch", "-q", &text(&signed.fleet.work), &spec]);
    let before = signed.boots().0;
    signed.on_disk(&["update-ref", "refs/domus/generations/000001", &newest]);
    signed.on_disk(&["update-ref", "refs/domus/running", &staged]);
    let (boots, refused) = signed.boots();
    assert_eq!(boots, before);
    assert!(refused[0].contains("no target names it"), "{refused:?}");
}

#[test]
fn a_stolen_key_is_revoked() {
    let signed = Signed::new("");
    let keys = [
        ("alice", EVERYTHING),
        ("bob", &[Role::Commit, Role::Publish]),
        ("recovery", &[Role::Root]),
    ];
    signed.trust(1, &keys, &["alice"]);
    let second = signed.web("alice", "128MiB");
    signed.publish("bob", &second, &["*"]);
    signed.takes(&second);
    // Bob's key is stolen. Alice takes it out.
    signed.trust(1, &[keys[0], keys[2]], &["alice"]);
    let third = signed.web("alice", "160MiB");
    signed.publish("alice", &third, &["*"]);
    signed.takes(&third);
    let (before, serial) = signed.newest.borrow().clone();
    let evil = signed.web("bob", "192MiB");
    let stolen = signed.target("bob", &evil, &["*"], before.as_deref(), serial + 1, None);
    signed.push(&stolen);
    signed.refused("which trust.toml (serial 3) does not have");
    // Nor with the trust of before, in which Bob has a say.
    signed.fleet.git(&["checkout", "-q", &second]);
    fs::remove_file(signed.fleet.work.join("trust/2.toml")).unwrap_or_default();
    let stolen = signed.target("bob", &second, &["*"], before.as_deref(), serial + 1, None);
    signed.push(&stolen);
    signed.refused("which trust.toml (serial 3) does not have");
    // Nor on the disk, where the host has seen the newer one.
    signed.on_disk(&["fetch", "-q", &server_of(&signed.fleet), TARGETS_REF]);
    signed.on_disk(&["update-ref", "refs/domus/running", &stolen]);
    let (boots, refused) = signed.boots();
    assert_eq!(boots, third);
    assert!(refused[0].contains("does not have"), "{refused:?}");
}

#[test]
fn roots_are_rotated_and_a_lost_key_is_replaced() {
    let signed = Signed::new("");
    // Alice loses her key. The recovery key, out of its vault, makes a new one hers.
    let keys = [("alice2", EVERYTHING), ("recovery", &[Role::Root])];
    signed.trust(1, &keys, &["recovery"]);
    signed.web("alice2", "128MiB");
    // Then the roots are three, two of which must sign; a host that was off sees both at once.
    let keys = [
        ("alice2", EVERYTHING),
        ("ec-carol", EVERYTHING),
        ("dave", &[Role::Root]),
    ];
    signed.trust(2, &keys, &["alice2", "ec-carol"]);
    let third = signed.web("ec-carol", "160MiB");
    signed.publish("ec-carol", &third, &["*"]);
    signed.takes(&third);
    // One root alone changes nothing any more.
    signed.trust(1, &[("alice2", EVERYTHING)], &["alice2"]);
    let alone = signed.web("alice2", "192MiB");
    signed.publish("alice2", &alone, &["*"]);
    signed.refused("signed by 1 of 2 root keys that serial 3 asks for");
}

#[test]
fn an_old_target_is_not_taken_again_not_even_by_a_rebuilt_host() {
    let signed = Signed::new("");
    let (first, _) = signed.newest.borrow().clone();
    let second = signed.web("alice", "128MiB");
    let old = signed.publish("alice", &second, &["*"]);
    signed.takes(&second);
    let third = signed.web("alice", "160MiB");
    let newest = signed.publish("alice", &third, &["*"]);
    signed.takes(&third);
    for replayed in [first.as_ref().expect("a target"), &old] {
        signed.push(replayed);
        signed.refused("was seen before");
    }
    // Another one with the same serial.
    let twin = signed.target("alice", &second, &["*"], Some(&old), 3, None);
    signed.push(&twin);
    signed.refused("two targets 3");
    // Targets that vanish, and a remote that does.
    let server = server_of(&signed.fleet);
    run("git", &["-C", &server, "update-ref", "-d", TARGETS_REF]);
    let pulled = signed.fleet.pull();
    assert!(
        pulled.code == 1 && pulled.stderr.contains("there are none"),
        "{pulled:?}"
    );
    assert_eq!(signed.boots().0, third);

    // The host burns down. Its disk is new; the release was built when the newest was known.
    let signed = signed.install(&third, &newest);
    signed.push(&old);
    signed.refused("has the serial 2, and 3 is the least");
    signed.push(&newest);
    signed.nothing("nothing new");
}

#[test]
fn what_is_for_another_fleet_or_release_stays_out() {
    let signed = Signed::new("");
    let second = signed.web("alice", "128MiB");
    let (before, serial) = signed.newest.borrow().clone();
    let before = before.as_deref();
    let other = signed.target("alice", &second, &["*"], before, serial + 1, Some("2"));
    signed.push(&other);
    signed.refused("is for the release 2");
    // Nobody signed the commit that it names; nobody signed the target.
    signed.fleet.set_web("160MiB");
    let unsigned = signed.fleet.commit("unsigned");
    let target = signed.target("alice", &unsigned, &["*"], before, serial + 2, None);
    signed.push(&target);
    signed.refused("is signed by nobody");
    let stranger = signed.web("mallory", "160MiB");
    let target = signed.target("alice", &stranger, &["*"], before, serial + 3, None);
    signed.push(&target);
    signed.refused("does not have");
    let target = signed.target("mallory", &second, &["*"], before, serial + 4, None);
    signed.push(&target);
    signed.refused("does not have");
    // Who only commits publishes nothing.
    let keys = [("alice", EVERYTHING), ("erin", &[Role::Commit])];
    signed.trust(1, &keys, &["alice"]);
    let third = signed.web("erin", "192MiB");
    let target = signed.target("erin", &third, &["*"], before, serial + 5, None);
    signed.push(&target);
    signed.refused("erin, who has not the role publish");
    let target = signed.target("alice", &third, &["*"], before, serial + 6, None);
    signed.push(&target);
    signed.takes(&third);
}

#[test]
fn a_branch_is_followed_forwards_only_and_signed() {
    let signed = Signed::new("main");
    let first = signed.boots().0;
    let second = signed.web("alice", "128MiB");
    signed.fleet.push();
    signed.takes(&second);
    let status = signed.fleet.host.run(&["status"]).stdout;
    assert!(status.contains("follows main as it comes"), "{status}");
    let unsigned = signed.fleet.web("160MiB");
    signed.refused("is signed by nobody");
    signed.fleet.git(&["reset", "-q", "--hard", &first]);
    signed.fleet.push();
    signed.refused("does not come after");
    signed.fleet.git(&["reset", "-q", "--hard", &second]);
    // Signed on top, what nobody signed before it is history.
    signed.fleet.git(&["reset", "-q", "--hard", &unsigned]);
    let fourth = signed.web("alice", "192MiB");
    signed.fleet.push();
    signed.takes(&fourth);
}

#[test]
fn what_was_tampered_with_on_the_partition_is_not_booted() {
    let signed = Signed::new("");
    let first = signed.boots().0;
    let second = signed.web("alice", "128MiB");
    signed.publish("alice", &second, &["*"]);
    signed.takes(&second);
    // Loose objects, so that one can be got at.
    let packs = signed.fleet.host.at("config/repo.git/objects/pack");
    for pack in fs::read_dir(&packs)
        .expect("packs")
        .map(|it| it.expect("a file").path())
    {
        if pack.extension().is_some_and(|it| it == "pack") {
            let aside = signed.fleet.host.at("aside.pack");
            fs::rename(&pack, &aside).expect("moved");
            fs::remove_file(pack.with_extension("idx")).expect("removed");
            let unpack = Command::new("git")
                .arg("-C")
                .arg(signed.fleet.host.at("config/repo.git"))
                .args(["unpack-objects", "-q"])
                .stdin(fs::File::open(&aside).expect("open"))
                .status()
                .expect("git");
            assert!(unpack.success());
        }
    }
    let document = format!("{second}:pservers/alpha/domUs/web.toml");
    let blob = signed.on_disk(&["rev-parse", &document]);
    let evil = signed.fleet.host.at("evil.toml");
    fs::write(
        &evil,
        "version = 1\nimage = \"base@1\"\nmemory = \"999MiB\"\n",
    )
    .expect("written");
    let evil = signed.on_disk(&["hash-object", "-w", &text(&evil)]);
    let object = |id: &str| {
        let path = format!("config/repo.git/objects/{}/{}", &id[..2], &id[2..]);
        signed.fleet.host.at(&path)
    };
    // Another content under the name of the signed one.
    let kept = fs::read(object(&blob)).expect("read");
    fs::remove_file(object(&blob)).expect("removed");
    fs::copy(object(&evil), object(&blob)).expect("replaced");
    let (boots, refused) = signed.boots();
    assert_eq!(boots, first, "{refused:?}");
    assert!(
        refused[0].starts_with("refs/domus/running: "),
        "{refused:?}"
    );
    fs::write(object(&blob), kept).expect("put back");
    assert_eq!(signed.boots().0, second);
    // A ref that is rubbish, and one that names nothing.
    let running = signed.fleet.host.at("config/repo.git/refs/domus/running");
    for content in [
        "rubbish\n",
        "",
        "8c1d02e08c1d02e08c1d02e08c1d02e08c1d02e0\n",
    ] {
        fs::write(&running, content).expect("written");
        let (boots, refused) = signed.boots();
        assert_eq!(boots, second, "{content:?}: {refused:?}");
        assert_eq!(refused.len(), 1, "{content:?}: {refused:?}");
    }
    fs::remove_file(&running).expect("removed");
    assert_eq!(signed.boots().0, second);
}
