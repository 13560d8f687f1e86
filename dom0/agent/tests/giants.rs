// SPDX-License-Identifier: GPL-3.0-or-later
//! A file of 1 GiB in the fleet's repository, which takes 1 MiB on the wire: what pulls has bounded
//! memory wherever it is, and says what to do where it is in the way.

mod common;
mod fleet;
mod server;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::Ran;
use fleet::{Fleet, run, server_of, text};
use server::Server;

/// Most memory of a pull, in KiB. An ordinary one has less than 50 MiB.
const MOST: u64 = 128 << 10;

/// A fleet, and its server on loopback.
struct Served {
    fleet: Fleet,
    _server: Server,
}

impl Served {
    fn new() -> Self {
        let fleet = Fleet::new("[config]\nREMOTE\n");
        let server = Server::start(fleet.host.root());
        server.serve(&fleet, "");
        // What is too large to be pushed in a test is there all the same.
        let objects = text(&fleet.work.join(".git/objects")) + "\n";
        let alternates = "server.git/objects/info/alternates";
        fleet.host.write(alternates, &objects);
        let _server = server;
        Self { fleet, _server }
    }

    /// Commits a file of so many MiB at `path`, and others as what is stored as a difference to it.
    fn commit(&self, mib: u32, path: &str, small: &[(&str, &str)]) -> String {
        let fleet = &self.fleet;
        let mut packed = vec![path];
        let mut giant = Command::new("python3");
        giant.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/giant.py"));
        giant
            .arg(fleet.work.join(".git/objects/pack"))
            .arg(mib.to_string());
        for (path, content) in small {
            fleet.host.write("small", content);
            giant.arg(fleet.host.at("small"));
            packed.push(path);
        }
        let output = giant.stderr(Stdio::inherit()).output().expect("python3");
        let ids = String::from_utf8(output.stdout).expect("ids");
        for (path, id) in packed.iter().zip(ids.lines()) {
            let entry = format!("100644,{id},{path}");
            fleet.git(&["update-index", "--add", "--cacheinfo", &entry]);
        }
        let tree = fleet.git(&["write-tree"]);
        let commit = fleet.git(&["commit-tree", "-p", "HEAD", "-m", "a giant", &tree]);
        fleet.git(&["update-ref", "refs/heads/main", &commit]);
        let server = server_of(fleet);
        run(
            "git",
            &["-C", &server, "update-ref", "refs/heads/main", &commit],
        );
        commit
    }

    /// Pulls, within the memory that it may have.
    fn pull(&self) -> Ran {
        let host = &self.fleet.host;
        let agent = host.command(&["pull"]);
        let mut python = Command::new("python3");
        python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peak.py"));
        python.arg(host.at("peak")).arg(agent.get_program());
        python.args(agent.get_args());
        for (key, value) in agent.get_envs() {
            python.env(key, value.unwrap_or_default());
        }
        python.env("SSL_CERT_FILE", host.at("tls.pem"));
        let ran = Ran::from(python.output().expect("python3"));
        let peak = fs::read_to_string(host.at("peak")).expect("written");
        let peak: u64 = peak.parse().expect("a number");
        eprintln!("a pull took {} MiB", peak >> 10);
        assert!(peak <= MOST, "{peak} KiB: {ran:?}");
        ran
    }
}

#[test]
fn one_of_this_host_is_refused() {
    let served = Served::new();
    let fleet = &served.fleet;
    let first = fleet.running();
    served.commit(1024, "pservers/alpha/etc/big", &[]);
    let refused = served.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in [
        "pservers/alpha/etc/big",
        "1073741824",
        "67108864",
        "volumes",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(fleet.running(), first);
    // The host takes what comes after it.
    let next = fleet.web("128MiB");
    let pulled = served.pull();
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert_eq!(fleet.running(), next);
}

#[test]
fn one_of_others_is_taken_and_not_read() {
    let served = Served::new();
    let fleet = &served.fleet;
    for path in ["docs/big", "pservers/beta/etc/big"] {
        let commit = served.commit(1024, path, &[]);
        let pulled = served.pull();
        assert_eq!(pulled.code, 0, "{pulled:?}");
        assert_eq!(fleet.running(), commit);
    }
}

/// The host's own domU, packed as a difference to something large.
fn web_to(served: &Served, mib: u32) -> String {
    let web = "version = 1\nimage = \"base@1\"\nmemory = \"160MiB\"\n";
    let first = served.fleet.running();
    let commit = served.commit(mib, "docs/big", &[("pservers/alpha/domUs/web.toml", web)]);
    let refused = served.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    let size = (u64::from(mib) << 20).to_string();
    for part in ["difference", &size, "bigFileThreshold"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(served.fleet.running(), first);
    commit
}

#[test]
fn what_is_a_difference_to_one_is_refused() {
    web_to(&Served::new(), 1024);
}

#[test]
fn a_server_that_is_told_to_sends_it_whole() {
    let served = Served::new();
    let commit = web_to(&served, 96);
    // What the message says.
    let server = server_of(&served.fleet);
    let threshold = ["-C", &server, "config", "core.bigFileThreshold", "32m"];
    run("git", &threshold);
    run("git", &["-C", &server, "repack", "-adFq"]);
    let pulled = served.pull();
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert_eq!(served.fleet.running(), commit);
}

#[test]
fn a_repository_on_the_same_machine_has_none() {
    let served = Served::new();
    let fleet = &served.fleet;
    let first = fleet.running();
    let url = format!("file://{}", server_of(fleet));
    let document = fs::read_to_string(fleet.work.join("domus.toml")).expect("read");
    assert!(document.contains(&url), "{document}");
    fleet.host.write("run/domus/slice/domus.toml", &document);
    served.commit(1024, "docs/big", &[]);
    let refused = served.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["1073741824", "https://"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(fleet.running(), first);
}
