// SPDX-License-Identifier: GPL-3.0-or-later
//! A fleet whose commits and targets are signed, by git and `ssh-keygen`, and a host that believes
//! its first `trust.toml`.

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
use serde_json::{Value, json};

use crate::fleet::{Fleet, run, server_of, text};

/// A fleet whose release believes its first `trust.toml`.
pub(crate) struct Signed {
    pub(crate) fleet: Fleet,
    /// The release's own words.
    release: Value,
    /// The newest trust, and those before it.
    trust: RefCell<Vec<Trust>>,
    /// The newest target and its serial.
    pub(crate) newest: RefCell<(Option<String>, u32)>,
}

pub(crate) const EVERYTHING: &[Role] = &Role::ALL;

impl Signed {
    /// Of a fleet whose hosts follow this, where alice signs everything and there is a recovery
    /// key; the host runs the first commit.
    pub(crate) fn new(follow: &str) -> Self {
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
    pub(crate) fn install(mut self, commit: &str, statement: &str) -> Self {
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
    pub(crate) fn key(&self, of: &str) -> PathBuf {
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
    pub(crate) fn trust(&self, threshold: u32, keys: &[(&str, &[Role])], signers: &[&str]) {
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
    pub(crate) fn commit(&self, of: &str, message: &str) -> String {
        self.fleet.git(&["add", "-A"]);
        let key = format!("user.signingkey={}", text(&self.key(of)));
        let commit = ["commit", "-q", "--allow-empty", "-S", "-m", message];
        let config = ["-c", "gpg.format=ssh", "-c", &key];
        self.fleet.git(&[&config[..], &commit].concat());
        self.fleet.git(&["rev-parse", "HEAD"])
    }

    /// Gives web so much memory, and commits it signed.
    pub(crate) fn web(&self, of: &str, memory: &str) -> String {
        self.fleet.set_web(memory);
        self.commit(of, memory)
    }

    /// Publishes a commit, signed by somebody with the next serial.
    pub(crate) fn publish(&self, of: &str, commit: &str, hosts: &[&str]) -> String {
        let (before, serial) = self.newest.borrow().clone();
        let target = self.target(of, commit, hosts, before.as_deref(), serial + 1, None);
        *self.newest.borrow_mut() = (Some(target.clone()), serial + 1);
        self.push(&target);
        target
    }

    pub(crate) fn target(
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
    pub(crate) fn push(&self, id: &str) {
        let spec = format!("+{id}:{TARGETS_REF}");
        let server = server_of(&self.fleet);
        self.fleet.git(&["push", "-q", &server, &spec]);
    }

    /// Pulls, which is refused for this reason and changes nothing.
    pub(crate) fn refused(&self, why: &str) {
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
    pub(crate) fn takes(&self, commit: &str) {
        let pulled = self.fleet.pull();
        assert_eq!(pulled.code, 0, "{pulled:?}");
        assert_eq!(self.boots(), (commit.to_owned(), Vec::new()), "{pulled:?}");
    }

    pub(crate) fn nothing(&self, why: &str) {
        let before = self.boots();
        let pulled = self.fleet.pull();
        assert_eq!(pulled.code, 0, "{pulled:?}");
        assert!(pulled.stdout.contains(why), "{why}: {pulled:?}");
        assert_eq!(self.boots(), before);
    }

    /// The commit that domus-boot boots, and what it does not.
    pub(crate) fn boots(&self) -> (String, Vec<String>) {
        let release = serde_json::from_value(self.release.clone()).expect("a release");
        let judge = Judge::new(&release).expect("a judge");
        let repo = Repo::open(&self.fleet.host.at("config/repo.git")).expect("open");
        let host = "alpha".parse().expect("a name");
        let chosen = judge.choose(&repo, None, |statement| {
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
    pub(crate) fn on_disk(&self, args: &[&str]) -> String {
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
