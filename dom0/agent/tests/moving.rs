// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU goes from one host to another: what each of them does by itself, and `domus move` with both,
//! by a real SSH server.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::sshd::{Server, keygen};
use common::{Host, Ran};
use serde_json::{Value, json};

const DISK: &str = "[[disk]]\nname = \"data\"\nsize = \"8MiB\"\nmount = \"/srv\"\n";
const DATA: &str = "config/volumes/web.data.img";
const MARK: &str = "config/state/moves/web.json";

/// A host with the domU `web`, which has run there.
fn alpha() -> Host {
    let host = Host::new(&[("web", DISK)], "");
    host.give_image();
    assert_eq!(host.run(&["apply"]).code, 0);
    host
}

/// The host that it goes to, which takes the commit.
fn beta() -> Host {
    let host = Host::named("beta", &[("web", &comes_from("alpha"))], "");
    host.give_image();
    host
}

fn comes_from(host: &str) -> String {
    format!("moved-from = \"{host}\"\n{DISK}")
}

/// What there is of `web`: its state and why.
fn web(host: &Host) -> (String, String) {
    let status = host.run(&["status", "--json"]).json();
    let domus = status["domus"].as_array().expect("domUs");
    let web = domus.iter().find(|it| it["name"] == "web").expect("web");
    let text = |key: &str| web[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

fn started(applied: &Ran) -> Value {
    applied.json()["started"].clone()
}

fn refused(ran: &Ran, why: &str) {
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains(why), "{why}: {ran:?}");
}

#[test]
fn one_that_left_never_starts_again() {
    let host = alpha();
    refused(
        &host.run(&["depart", "web", "--to", "alpha"]),
        "cannot leave alpha",
    );
    assert!(!host.at(MARK).exists());
    for _ in 0..2 {
        let left = host
            .run(&["depart", "web", "--to", "beta", "--json"])
            .json();
        let expected = json!({"domU": "web", "host": "alpha", "to": "beta", "volumes": ["data"]});
        assert_eq!(left, expected);
    }
    // Neither by itself, nor for an operator, nor after a boot, nor for the commit that has it.
    fs::remove_dir_all(host.at("run/domus/domus")).expect("what was in RAM goes");
    for command in [&["apply", "--json"][..], &["start", "web", "--json"]] {
        let ran = host.run(command);
        assert_eq!(started(&ran), json!([]), "{ran:?}");
    }
    let (state, reason) = web(&host);
    assert_eq!(state, "stopped");
    assert!(reason.starts_with("it left for beta"), "{reason}");
    assert_eq!(host.run(&["health"]).code, 0, "nothing is wrong");
    // What it left can be taken.
    let copy = host.at("copy").display().to_string();
    let taken = host.run(&["volume", "backup", "web/data", "--to", &copy]);
    assert_eq!(taken.code, 0, "{taken:?}");
}

#[test]
fn one_that_still_runs_did_not_leave() {
    let host = alpha();
    host.runs(&["test", "web"]);
    host.store.set("/local/domain/2/name", "web");
    let stays = host.run(&["depart", "web", "--to", "beta", "--timeout", "1"]);
    assert_eq!(stays.code, 1, "{stays:?}");
    assert!(!host.at(MARK).exists());
}

#[test]
fn a_damaged_note_starts_nothing() {
    let host = alpha();
    host.write(MARK, "{\"is\": \"arri");
    let applied = host.run(&["apply", "--json"]);
    assert_eq!(
        (applied.code, started(&applied)),
        (1, json!([])),
        "{applied:?}"
    );
    let (state, reason) = web(&host);
    assert_eq!(state, "failed");
    assert!(reason.contains("moves/web.json"), "{reason}");
    assert_eq!(host.run(&["start", "web"]).code, 1);
}

#[test]
fn one_that_is_expected_starts_once_it_came() {
    let (alpha, beta) = (alpha(), beta());
    let arrive = |more: &[&str]| {
        let words = [&["arrive", "web", "--from"], more].concat();
        beta.run(&words)
    };
    let applied = beta.run(&["apply", "--json"]);
    assert_eq!(
        (applied.code, started(&applied)),
        (0, json!([])),
        "{applied:?}"
    );
    let (state, reason) = web(&beta);
    assert_eq!(state, "stopped");
    assert!(
        reason.starts_with("it has not come from alpha yet"),
        "{reason}"
    );
    assert!(!beta.at(DATA).exists(), "nothing is made in its place");
    refused(&arrive(&["gamma"]), "comes from alpha");
    refused(&arrive(&["alpha"]), "data is not here");
    let asked = arrive(&["alpha", "--ask", "--json"]).json();
    let expected = json!({"domU": "web", "host": "beta", "from": "alpha", "arrived": false});
    assert_eq!(asked, expected);

    let copy = alpha.at("copy").display().to_string();
    assert_eq!(
        alpha
            .run(&["volume", "backup", "web/data", "--to", &copy])
            .code,
        0
    );
    let restored = beta.run(&["volume", "restore", "web/data", "--from", &copy]);
    assert_eq!(restored.code, 0, "{restored:?}");
    let came = arrive(&["alpha", "--json"]);
    assert_eq!(came.code, 0, "{came:?}");
    assert_eq!(started(&came)[0]["name"], "web");
    assert_eq!(
        arrive(&["alpha", "--ask", "--json"]).json()["arrived"],
        true
    );
    assert_eq!(
        started(&beta.run(&["apply", "--json"]))[0]["name"],
        "web",
        "as any other"
    );

    // It goes on, and would come back only if it came from there.
    assert_eq!(beta.run(&["depart", "web", "--to", "gamma"]).code, 0);
    assert_eq!(started(&beta.run(&["apply", "--json"])), json!([]));
    assert_eq!(
        arrive(&["alpha", "--ask", "--json"]).json()["arrived"],
        false
    );
}

#[test]
fn an_operator_answers_for_one_that_comes_back_or_has_lost_its_volumes() {
    let (alpha, beta) = (alpha(), beta());
    refused(
        &alpha.run(&["arrive", "web", "--from", "beta"]),
        "here already",
    );
    assert_eq!(alpha.run(&["depart", "web", "--to", "beta"]).code, 0);
    refused(
        &alpha.run(&["arrive", "web", "--from", "gamma"]),
        "left alpha for beta",
    );
    let back = alpha.run(&["arrive", "web", "--from", "beta", "--json"]);
    assert_eq!(started(&back)[0]["name"], "web", "{back:?}");
    let empty = beta.run(&["arrive", "web", "--from", "alpha", "--empty", "--json"]);
    assert_eq!(started(&empty)[0]["name"], "web", "{empty:?}");
}

/// Two hosts, an operator who reaches both by SSH, and the fleet's repository.
struct Two {
    alpha: Host,
    beta: Host,
    _server: Server,
    dir: tempfile::TempDir,
}

impl Two {
    fn new() -> Self {
        let (alpha, beta) = (alpha(), beta());
        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut authorized = String::new();
        let hosts = [("alpha", &alpha), ("beta", &beta)];
        for (name, host) in hosts {
            keygen("ed25519", &at(name));
            let script = dir.path().join(format!("{name}.sh"));
            let agent = env!("CARGO_BIN_EXE_domus-dom0");
            let text = format!(
                "#!/bin/sh\nexport DOMUS_ROOT={root} DOMUS_LIBVIRT_URI=test://{root}/node.xml \
                 XENSTORED_PATH={root}/xenstored PATH={bin}:/usr/sbin:$PATH\n\
                 exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
                root = host.root().display(),
                bin = Path::new(agent).parent().expect("a directory").display(),
            );
            fs::write(&script, text).expect("written");
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("changed");
            let key = fs::read_to_string(at(&format!("{name}.pub"))).expect("read");
            authorized += &format!("command=\"{}\" {key}", script.display());
        }
        let server = Server::start(dir.path(), &authorized);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("changed");
        let known = format!("[127.0.0.1]:{} {}\n", server.port, server.key.trim());
        fs::write(at("known"), known).expect("written");
        let mut config = format!(
            "Host gone\n  HostName 127.0.0.1\n  Port 1\n  BatchMode yes\nHost alpha beta\n  HostName 127.0.0.1\n  User root\n  \
             Port {}\n  UserKnownHostsFile {}\n  IdentitiesOnly yes\n  BatchMode yes\n",
            server.port,
            at("known")
        );
        for (name, _) in hosts {
            config += &format!("Host {name}\n  IdentityFile {}\n", at(name));
        }
        fs::write(at("config"), config).expect("written");
        fs::create_dir(at("bin")).expect("made");
        let ssh = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", at("config"));
        fs::write(at("bin/ssh"), ssh).expect("written");
        fs::set_permissions(at("bin/ssh"), fs::Permissions::from_mode(0o755)).expect("changed");

        // Documents as the hosts have them.
        let slice = |host: &Host, path: &str| {
            fs::read_to_string(host.at("run/domus/slice").join(path)).expect("read")
        };
        let two = Self {
            _server: server,
            dir,
            alpha,
            beta,
        };
        for path in ["domus.toml", "images/base.toml", "pservers/alpha/host.toml"] {
            two.write(path, &slice(&two.alpha, path));
        }
        let document = slice(&two.beta, "pservers/beta/host.toml").replace("8QXK", "9RYL");
        two.write("pservers/beta/host.toml", &document);
        let web = "version = 1\nimage = \"base@1\"\nmemory = \"96MiB\"\n";
        two.write("pservers/alpha/domUs/web.toml", &format!("{web}{DISK}"));
        two.git(&["init", "-q"]);
        two.commit();
        two
    }

    fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.current_dir(self.repo())
            .args(["-c", "user.name=x", "-c", "user.email=x@example.net"]);
        git.args(["-c", "commit.gpgsign=false"]);
        let ran = git.args(arguments).output().expect("git");
        assert!(ran.status.success(), "{ran:?}");
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "x"]);
    }

    /// `domus move web`, with more words.
    fn moves(&self, more: &[&str]) -> Ran {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dist/bin/domus");
        let domus = std::env::var_os("DOMUS_BIN").map_or(built, PathBuf::from);
        let path = std::env::var("PATH").expect("PATH");
        let bin = self.dir.path().join("bin");
        let ran = Command::new(domus)
            .args(["move", "web"])
            .args(more)
            .current_dir(self.repo())
            .env("PATH", format!("{}:{path}", bin.display()))
            .output();
        Ran::from(ran.expect("`make build` builds it"))
    }
}

#[test]
fn an_operator_moves_it() {
    let two = Two::new();
    let moved = |more: &[&str]| two.moves(more);
    refused(&moved(&[]), "--to HOST moves it");
    refused(&moved(&["--to", "beta"]), "may not run on beta");
    assert_eq!(moved(&["--to", "delta"]).code, 1);
    let web = "version = 1\nimage = \"base@1\"\nmay-run-on = [\"beta\"]\n";
    two.write("pservers/alpha/domUs/web.toml", &format!("{web}{DISK}"));
    refused(&moved(&["--to", "beta"]), "is not committed");
    two.commit();
    let would = moved(&["--to", "beta", "--dry-run"]);
    assert_eq!(would.code, 0, "{would:?}");
    assert!(two.repo().join("pservers/alpha/domUs/web.toml").exists());

    let first = moved(&["--to", "beta"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(!two.repo().join("pservers/alpha/domUs/web.toml").exists());
    let document = fs::read_to_string(two.repo().join("pservers/beta/domUs/web.toml"));
    let expected =
        "version = 1\nimage = \"base@1\"\nmay-run-on = [\"alpha\"]\nmoved-from = \"alpha\"\n";
    assert_eq!(document.expect("read"), format!("{expected}{DISK}"));
    refused(&moved(&[]), "is not committed");
    two.commit();

    // The old host is not there: nothing starts.
    let gone = moved(&["--ssh", "alpha=gone"]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.stderr.contains("alpha did not say"), "{gone:?}");
    let other = moved(&["--ssh", "beta=alpha"]);
    assert_eq!(other.code, 1, "{other:?}");
    for host in [&two.alpha, &two.beta] {
        assert!(!host.at(MARK).exists());
    }
    assert_eq!(started(&two.beta.run(&["apply", "--json"])), json!([]));

    // The copy breaks off: it runs nowhere, and is taken up again.
    let data = fs::read(two.alpha.at(DATA)).expect("read");
    two.beta.write("config/volumes", "in the way");
    let cut = moved(&[]);
    assert_eq!(cut.code, 1, "{cut:?}");
    assert!(cut.stderr.contains("runs nowhere"), "{cut:?}");
    assert!(two.alpha.at(MARK).exists() && !two.beta.at(MARK).exists());
    fs::remove_file(two.beta.at("config/volumes")).expect("removed");
    let went = moved(&[]);
    assert_eq!(went.code, 0, "{went:?}");
    assert!(
        went.stdout
            .starts_with("web   went from alpha to beta, with data\n"),
        "{went:?}"
    );
    assert!(fs::read(two.beta.at(DATA)).expect("read") == data);
    assert!(
        fs::read(two.alpha.at(DATA)).expect("read") == data,
        "it stays"
    );
    assert_eq!(started(&two.alpha.run(&["apply", "--json"])), json!([]));
    assert_eq!(
        started(&two.beta.run(&["apply", "--json"]))[0]["name"],
        "web"
    );

    // What it wrote since is not replaced by what it had.
    let mut newer = data;
    newer[5 << 20] ^= 1;
    fs::write(two.beta.at(DATA), &newer).expect("written");
    let again = moved(&["--json"]).json();
    assert_eq!(
        (&again["was_there"], &again["volumes"]),
        (&json!(true), &json!([]))
    );
    assert!(fs::read(two.beta.at(DATA)).expect("read") == newer);
}
