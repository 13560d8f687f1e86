// SPDX-License-Identifier: GPL-3.0-or-later
//! A fleet with a server and a host that runs its first commit.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use domus_repo::{RUNNING_REF, Repo, carry};
use serde_json::{Value, json};

use crate::common::{Host, Ran};

/// A fleet's repository on a server, somebody's work tree of it, and a host that runs its first
/// commit.
pub(crate) struct Fleet {
    pub(crate) host: Host,
    pub(crate) work: PathBuf,
}

impl Fleet {
    /// One whose hosts follow `main`. `REMOTE` in `config` is the server, and nothing is applied by
    /// itself; `LIVE` is the server alone.
    pub(crate) fn new(config: &str) -> Self {
        Self::with(config, &[], "main")
    }

    /// The same with more files in the first commit, whose hosts follow this branch; without one,
    /// targets.
    pub(crate) fn with(config: &str, files: &[(&str, &str)], branch: &str) -> Self {
        let host = Host::new(&[("web", "")], "");
        for (path, text) in files {
            host.write(&format!("run/domus/slice/{path}"), text);
        }
        let (work, server) = (host.at("work"), host.at("server.git"));
        let slice = host.at("run/domus/slice");
        run("cp", &["-r", &text(&slice), &text(&work)]);
        let follow = match branch {
            "" => String::new(),
            branch => format!("\nfollow = \"{branch}\""),
        };
        let remote = format!("remote = \"file://{}\"{follow}", server.display());
        let config = config.replace("REMOTE", &format!("{remote}\napply = \"manual\""));
        let config = config.replace("LIVE", &remote);
        let domus = format!("version = 1\nfleet = \"example\"\n{config}");
        fs::write(work.join("domus.toml"), domus).expect("written");
        let fleet = Self { host, work };
        fleet.git(&["init", "-q", "-b", "main"]);
        let first = fleet.commit("first");
        fleet.git(&["clone", "-q", "--bare", ".", &text(&server)]);
        fleet.git(&["remote", "add", "origin", &text(&server)]);
        fs::create_dir_all(fleet.host.at("config")).expect("made");
        let bare = fleet.host.at("config/repo.git");
        carry(&Repo::open(&fleet.work).expect("open"), &first, &bare).expect("carried");
        // What domus-boot leaves.
        run(
            "cp",
            &[&text(&fleet.work.join("domus.toml")), &text(&slice)],
        );
        let release = json!({"fleet": "example", "version": "7", "unsigned": true});
        let statement = json!({"id": first});
        let boot = json!({
            "name": "alpha", "commit": first, "statement": statement, "release": release,
            "release_id": "3f9a",
        });
        fleet.host.write("run/domus/boot.json", &boot.to_string());
        fleet
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=test", "-c", "user.email=test@example.net"]);
        let output = git
            .args(args)
            .current_dir(&self.work)
            .output()
            .expect("git");
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn push(&self) {
        self.git(&["push", "-q", "--force", "origin", "HEAD:main"]);
    }

    /// Writes a file, to be committed.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let file = self.work.join(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("made");
        fs::write(file, text).expect("written");
    }

    /// Gives web so much memory.
    pub(crate) fn set_web(&self, memory: &str) {
        let document = format!("version = 1\nimage = \"base@1\"\nmemory = \"{memory}\"\n");
        fs::write(self.work.join("pservers/alpha/domUs/web.toml"), document).expect("written");
    }

    /// Gives web so much memory, commits and pushes.
    pub(crate) fn web(&self, memory: &str) -> String {
        self.set_web(memory);
        let commit = self.commit(&format!("web: {memory}"));
        self.push();
        commit
    }

    /// Writes files, or removes those without a text, commits and pushes.
    pub(crate) fn publish(&self, files: &[(&str, Option<&str>)]) -> String {
        for (path, text) in files {
            match text {
                Some(text) => self.put(path, text),
                None => fs::remove_file(self.work.join(path)).expect("removed"),
            }
        }
        let commit = self.commit("a change");
        self.push();
        commit
    }

    pub(crate) fn running(&self) -> String {
        let repo = Repo::open(&self.host.at("config/repo.git")).expect("open");
        repo.commit(RUNNING_REF).expect("running").id
    }

    pub(crate) fn pull(&self) -> Ran {
        self.host.run(&["pull"])
    }

    pub(crate) fn status(&self) -> Value {
        self.host.run(&["status", "--json"]).json()
    }
}

pub(crate) fn server_of(fleet: &Fleet) -> String {
    text(&fleet.host.at("server.git"))
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

pub(crate) fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect(program);
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}
