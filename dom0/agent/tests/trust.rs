// SPDX-License-Identifier: GPL-3.0-or-later
//! Whom a host believes: stories of keys, targets and those who forge them, with keys, commits and
//! signatures as `ssh-keygen` and git make them.

mod common;
mod fleet;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use domus_model::names::Name;
use domus_model::trust::{
    Chain, DOCUMENT, EARLIER, Namespace, Role, SIGNATURES, Target, Trust, Trusted,
};
use domus_repo::{Export, Judge, NewTarget, Repo, TARGETS_REF};
use domus_system::{documents, ssh};
use fleet::{Fleet, run, server_of, text};
use serde_json::{Value, json};

/// A fleet whose release believes its first `trust.toml`.
struct Signed {
    fleet: Fleet,
    /// The release's own words.
    release: Value,
    /// The newest trust, and those before it.
    trust: RefCell<Vec<Trust>>,
    /// The newest target and its serial.
    newest: RefCell<(Option<String>, u32)>,
}

const EVERYTHING: &[Role] = &Role::ALL;

impl Signed {
    /// Of a fleet whose hosts follow this, where alice signs everything and there is a recovery
    /// key; the host runs the first commit.
    fn new(follow: &str) -> Self {
        let fleet = Fleet::with("[config]\nREMOTE\n", &[], follow);
        let signed = Self {
            fleet,
            release: Value::Null,
            trust: RefCell::default(),
            newest: RefCell::default(),
        };
        let keys = [("alice", EVERYTHING), ("recovery", &[Role::Root])];
        signed.trust(1, &keys, &["alice"]);
        let first = signed.commit("alice", "who may sign");
        let statement = match follow {
            "" => signed.publish("alice", &first, &["*"]),
            _ => first.clone(),
        };
        signed.install(&first, &statement)
    }

    /// Puts a release and what it runs on the host, as a rehearsal does.
    fn install(mut self, commit: &str, statement: &str) -> Self {
        let bare = self.fleet.host.at("config/repo.git");
        fs::remove_dir_all(&bare).expect("removed");
        let work = Repo::open(&self.fleet.work).expect("open");
        domus_repo::carry(&work, statement, &bare).expect("carried");
        let trust = fs::read_to_string(self.fleet.work.join(DOCUMENT)).expect("read");
        self.release = json!({
            "fleet": "example", "version": "1", "unsigned": false, "trust": trust,
            "least_serial": self.newest.borrow().1,
        });
        let slice = text(&self.fleet.host.at("run/domus/slice"));
        let document = text(&self.fleet.work.join("domus.toml"));
        run("cp", &[&document, &slice]);
        let boot = json!({
            "name": "alpha", "commit": commit, "statement": {"id": statement},
            "release": self.release, "release_id": "3f9a",
        });
        let boot = boot.to_string();
        self.fleet.host.write("run/domus/boot.json", &boot);
        self
    }

    /// Somebody's private key.
    fn key(&self, of: &str) -> PathBuf {
        let file = self.fleet.host.at(&format!("keys/{of}"));
        if !file.exists() {
            fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            let file = text(&file);
            let kind = if of.starts_with("ec") {
                "ecdsa"
            } else {
                "ed25519"
            };
            run(
                "ssh-keygen",
                &["-q", "-t", kind, "-N", "", "-C", "", "-f", &file],
            );
        }
        file
    }

    /// Writes the next `trust.toml` into the work tree, signed by these.
    fn trust(&self, threshold: u32, keys: &[(&str, &[Role])], signers: &[&str]) {
        let serial = self.trust.borrow().len() + 1;
        let work = &self.fleet.work;
        if serial > 1 {
            fs::create_dir_all(work.join(EARLIER)).expect("made");
            let earlier = |ending: &str| work.join(format!("{EARLIER}/{}.{ending}", serial - 1));
            fs::copy(work.join(DOCUMENT), earlier("toml")).expect("kept");
            fs::copy(work.join(SIGNATURES), earlier("sig")).expect("kept");
        }
        let trusted = |(name, roles): &(&str, &[Role])| {
            let key = ssh::public_key(&self.key(name)).expect("a key");
            let roles = roles.iter().copied().collect();
            let name: Name = name.parse().expect("a name");
            (name, Trusted { key, roles })
        };
        let trust = Trust {
            fleet: "example".parse().expect("a name"),
            serial: u32::try_from(serial).expect("few"),
            threshold,
            keys: keys.iter().map(trusted).collect::<BTreeMap<_, _>>(),
        };
        let text = trust.render();
        let sign = |of: &&str| ssh::sign(&self.key(of), Namespace::Trust, text.as_bytes());
        let signatures: String = signers.iter().map(|of| sign(of).expect("signed")).collect();
        fs::write(work.join(DOCUMENT), &text).expect("written");
        fs::write(work.join(SIGNATURES), signatures).expect("written");
        self.trust.borrow_mut().push(trust);
    }

    /// Commits the work tree, signed by git with somebody's key.
    fn commit(&self, of: &str, message: &str) -> String {
        self.fleet.git(&["add", "-A"]);
        let key = format!("user.signingkey={}", text(&self.key(of)));
        let commit = ["commit", "-q", "--allow-empty", "-S", "-m", message];
        let config = ["-c", "gpg.format=ssh", "-c", &key];
        self.fleet.git(&[&config[..], &commit].concat());
        self.fleet.git(&["rev-parse", "HEAD"])
    }

    /// Gives web so much memory, and commits it signed.
    fn web(&self, of: &str, memory: &str) -> String {
        self.fleet.set_web(memory);
        self.commit(of, memory)
    }

    /// Publishes a commit, signed by somebody with the next serial.
    fn publish(&self, of: &str, commit: &str, hosts: &[&str]) -> String {
        let (before, serial) = self.newest.borrow().clone();
        let target = self.target(of, commit, hosts, before.as_deref(), serial + 1, None);
        *self.newest.borrow_mut() = (Some(target.clone()), serial + 1);
        self.push(&target);
        target
    }

    fn target(
        &self,
        of: &str,
        commit: &str,
        hosts: &[&str],
        before: Option<&str>,
        serial: u32,
        release: Option<&str>,
    ) -> String {
        let repo = Repo::open(&self.fleet.work).expect("open");
        let hosts = hosts.iter().map(|it| it.parse().expect("hosts")).collect();
        let fleet = "example".parse().expect("a name");
        let mut target = Target::new(fleet, serial, hosts, commit.into());
        target.release = release.map(str::to_owned);
        let chain = chain(&self.fleet.work);
        let new = NewTarget {
            target: &target,
            chain: Some(&chain),
            before,
        };
        // Each is made beside the others: what is served is for the test to say.
        self.fleet.git(&["update-ref", "-d", TARGETS_REF]);
        if let Some(before) = before {
            self.fleet.git(&["update-ref", TARGETS_REF, before]);
        }
        let sign = |message: &[u8]| ssh::sign(&self.key(of), Namespace::Git, message);
        repo.add_target(&new, Some(&sign)).expect("a target")
    }

    /// Serves a commit as the newest target.
    fn push(&self, id: &str) {
        let spec = format!("+{id}:{TARGETS_REF}");
        let server = server_of(&self.fleet);
        self.fleet.git(&["push", "-q", &server, &spec]);
    }

    /// Pulls, which is refused for this reason and changes nothing.
    fn refused(&self, why: &str) {
        let before = self.boots();
        let pulled = self.fleet.pull();
        assert_eq!(pulled.code, 3, "{why}: {pulled:?}");
        assert!(pulled.stderr.contains(why), "{why}: {pulled:?}");
        let status = self.fleet.status();
        let said = status["pull_failure"].as_str().unwrap_or_default();
        assert!(said.contains(why), "{why}: {status}");
        assert_eq!(self.boots(), before);
    }

    /// Pulls, which takes this commit.
    fn takes(&self, commit: &str) {
        let pulled = self.fleet.pull();
        assert_eq!(pulled.code, 0, "{pulled:?}");
        assert_eq!(self.boots(), (commit.to_owned(), Vec::new()), "{pulled:?}");
    }

    fn nothing(&self, why: &str) {
        let before = self.boots();
        let pulled = self.fleet.pull();
        assert_eq!(pulled.code, 0, "{pulled:?}");
        assert!(pulled.stdout.contains(why), "{why}: {pulled:?}");
        assert_eq!(self.boots(), before);
    }

    /// The commit that domus-boot boots, and what it does not.
    fn boots(&self) -> (String, Vec<String>) {
        let release = serde_json::from_value(self.release.clone()).expect("a release");
        let judge = Judge::new(&release).expect("a judge");
        let repo = Repo::open(&self.fleet.host.at("config/repo.git")).expect("open");
        let host = "alpha".parse().expect("a name");
        let chosen = judge.choose(&repo, |statement| {
            let out = tempfile::tempdir()?;
            let commit = &statement.commit.id;
            Export::new(&repo, commit)?.slice(&host, out.path())?;
            let slice = documents::read_slice(out.path(), commit, &host)?;
            judge.ensure_fits(statement, &slice.fleet)
        });
        let chosen = chosen.expect("something to boot");
        (chosen.statement.commit.id, chosen.refused)
    }

    /// Runs git in the repository on the config partition, as whoever has the disk.
    fn on_disk(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.fleet.host.at("config/repo.git"))
            .args(args)
            .output()
            .expect("git");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The trust in a work tree.
fn chain(work: &Path) -> Chain {
    let names = fs::read_dir(work.join(EARLIER)).into_iter().flatten();
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    let read = |path: &str| Ok(fs::read(work.join(path)).ok());
    let chain = Chain::read(names.iter().map(String::as_str), read);
    chain.expect("read").expect("there")
}

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
