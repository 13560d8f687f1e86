// SPDX-License-Identifier: GPL-3.0-or-later
//! `pull`, `generations` and `rollback` with real repositories, and a real SSH server on loopback.

mod common;
mod fleet;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet::{Fleet, run, server_of, text};
use serde_json::{Value, json};

#[test]
fn commits_are_taken_one_after_the_other() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let first = fleet.running();
    let nothing = fleet.pull();
    assert_eq!(
        (nothing.code, nothing.stderr.as_str()),
        (0, ""),
        "{nothing:?}"
    );
    assert!(nothing.stdout.ends_with("nothing new\n"), "{nothing:?}");

    let second = fleet.web("128MiB");
    let pulled = fleet.host.run(&["pull", "--json"]).json();
    assert_eq!(
        (&pulled["from"], &pulled["to"]["commit"]),
        (&json!(first), &json!(second))
    );
    assert_eq!(pulled["generation"], 2);
    assert_eq!(pulled["steps"][0]["what"], "memory 96MiB -> 128MiB");
    assert_eq!(fleet.running(), second);
    assert_eq!(fleet.status()["next"], json!(second));
    let table = fleet.host.run(&["generations"]).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[1].contains("is booted next            web: 128MiB"),
        "{table}"
    );
    assert!(
        lines[2].contains("runs until the next boot  first"),
        "{table}"
    );

    // Several at once are one generation.
    fleet.web("160MiB");
    let fourth = fleet.web("192MiB");
    assert!(fleet.pull().stdout.contains("generation 3"));
    assert_eq!(fleet.running(), fourth);
}

#[test]
fn what_is_refused_changes_nothing() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let first = fleet.running();
    let refused = |code: i32, why: &str| {
        let pulled = fleet.pull();
        assert_eq!(pulled.code, code, "{pulled:?}");
        assert!(pulled.stderr.contains(why), "{why}: {pulled:?}");
        assert_eq!(fleet.running(), first);
        let status = fleet.status();
        assert!(
            status["pull_failure"]
                .as_str()
                .is_some_and(|text| text.contains(why)),
            "{status}"
        );
        assert_eq!(status["next"], Value::Null);
    };
    fleet.web("1MiB");
    refused(1, "does not pass `domus check`");
    fleet.git(&["rm", "-rq", "pservers/alpha"]);
    fleet.commit("no alpha");
    fleet.push();
    refused(1, "no pservers/alpha/");
    // Another history, and the same one rewound.
    fleet.git(&["checkout", "-q", "--orphan", "other"]);
    fleet.git(&["reset", "-q", "--hard"]);
    run(
        "cp",
        &[
            "-rT",
            &text(&fleet.host.at("run/domus/slice")),
            &text(&fleet.work),
        ],
    );
    fleet.commit("another history");
    fleet.push();
    refused(3, "does not come after");
    let server = server_of(&fleet);
    run(
        "git",
        &["-C", &server, "update-ref", "-d", "refs/heads/main"],
    );
    refused(1, "there is no such branch");
    fs::remove_dir_all(fleet.host.at("server.git")).expect("removed");
    refused(1, "fetching main of file://");

    // Once it is there again, it is taken.
    fleet.git(&["checkout", "-q", "-f", "main"]);
    fleet.git(&["reset", "-q", "--hard", &first]);
    fleet.git(&[
        "clone",
        "-q",
        "--bare",
        ".",
        &text(&fleet.host.at("server.git")),
    ]);
    let next = fleet.web("128MiB");
    assert_eq!(fleet.pull().code, 0);
    assert_eq!(fleet.running(), next);
    assert_eq!(fleet.status()["pull_failure"], Value::Null);
}

#[test]
fn a_newer_key_does_not_stop_an_older_host() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let domus = fleet.work.join("domus.toml");
    let text = fs::read_to_string(&domus).expect("read");
    fs::write(&domus, format!("{text}[newer]\nx = 1\n")).expect("written");
    let next = fleet.web("128MiB");
    let pulled = fleet.pull();
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(
        pulled.stderr.contains("unknown key \"newer\""),
        "{pulled:?}"
    );
    assert_eq!(fleet.running(), next);
    // By its commit, too.
    let back = fleet.host.run(&["rollback", "1"]);
    assert_eq!(back.code, 0, "{back:?}");
    let forth = fleet.host.run(&["rollback", &next[..12]]);
    assert_eq!(forth.code, 0, "{forth:?}");
    assert_eq!(fleet.running(), next);
}

#[test]
fn who_goes_back_stays_there_until_there_is_something_newer() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let first = fleet.running();
    assert_eq!(
        fleet.host.run(&["rollback"]).code,
        1,
        "there is nothing before"
    );
    let second = fleet.web("128MiB");
    fleet.pull();
    let back = fleet.host.run(&["rollback"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(back.stdout.contains("generation 1"), "{back:?}");
    assert_eq!(fleet.running(), first);
    let held = fleet.pull();
    assert!(held.code == 0 && held.stdout.contains("held"), "{held:?}");
    assert_eq!(fleet.running(), first);
    assert_eq!(
        fleet.host.run(&["rollback", "2"]).code,
        0,
        "and forth again"
    );
    assert_eq!(fleet.running(), second);
    fleet.host.run(&["rollback", "1"]);
    let third = fleet.web("160MiB");
    assert_eq!(fleet.pull().code, 0);
    assert_eq!(fleet.running(), third);
    assert_eq!(fleet.host.run(&["rollback", "9"]).code, 1);
}

#[test]
fn a_timer_waits_longer_after_each_failure() {
    let fleet = Fleet::new("[config]\nREMOTE\nevery = \"1h\"\n");
    fs::rename(fleet.host.at("server.git"), fleet.host.at("away.git")).expect("moved");
    assert_eq!(fleet.host.run(&["pull", "--timer"]).code, 1);
    fs::rename(fleet.host.at("away.git"), fleet.host.at("server.git")).expect("moved");
    let first = fleet.running();
    fleet.web("128MiB");
    let early = fleet.host.run(&["pull", "--timer"]);
    assert_eq!((early.code, early.stdout.as_str()), (0, ""), "{early:?}");
    assert_eq!(fleet.running(), first);
    // People are not made to wait.
    assert_eq!(fleet.pull().code, 0);
    assert_ne!(fleet.running(), first);
}

#[test]
fn without_a_remote_or_by_a_release_that_trusts_nobody_nothing_is_taken() {
    let fleet = Fleet::new("");
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("no [config]"), "{refused:?}");
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let boot = fs::read_to_string(fleet.host.at("run/domus/boot.json")).expect("read");
    fleet
        .host
        .write("run/domus/boot.json", &boot.replace("true", "false"));
    fleet.web("128MiB");
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("does not say whose commits"),
        "{refused:?}"
    );
}

/// An SSH server that serves git to whoever has the host's key.
struct Server {
    process: Child,
    port: u16,
    key: String,
}

impl Server {
    fn start(dir: &Path, client: &str) -> Self {
        let sshd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/sshd");
        assert!(
            sshd.join("usr/sbin/sshd").is_file(),
            "`make setup-tests` brings an SSH server"
        );
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let port = port.expect("a free port").port();
        let at = |name: &str| text(&dir.join(name));
        keygen("ed25519", &at("server-key"));
        // As servers have them: one key of each kind.
        keygen("ecdsa", &at("other-key"));
        let key = fs::read_to_string(at("server-key.pub")).expect("read");
        let authorized =
            format!("command=\"git shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" {client}\n");
        fs::write(at("authorized_keys"), authorized).expect("written");
        // The server wants an account of its own: it sees one, and nobody else does.
        let passwd = fs::read_to_string("/etc/passwd").expect("read");
        let passwd = passwd + "sshd:x:109:65534::/run/sshd:/usr/sbin/nologin\n";
        fs::write(at("passwd"), passwd).expect("written");
        let script = format!(
            "mount --bind {passwd} /etc/passwd && mkdir -p {dir}/run /run/sshd && \
             exec {sshd} -D -e -f /dev/null -p {port} -h {other} -h {key} -o ListenAddress=127.0.0.1 \
             -o AuthorizedKeysFile={authorized} -o StrictModes=no -o UsePAM=no -o PidFile=none \
             -o PermitRootLogin=forced-commands-only",
            passwd = at("passwd"),
            dir = dir.display(),
            sshd = sshd.join("usr/sbin/sshd").display(),
            key = at("server-key"),
            other = at("other-key"),
            authorized = at("authorized_keys"),
        );
        let libraries = fs::read_dir(sshd.join("usr/lib")).map(|mut it| it.next());
        let libraries = libraries.ok().flatten().and_then(Result::ok);
        let log = fs::File::create(at("sshd.log")).expect("a log");
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .env(
                "LD_LIBRARY_PATH",
                libraries.map(|it| it.path()).unwrap_or_default(),
            )
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare");
        let server = Self { process, port, key };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = || fs::read_to_string(at("sshd.log"));
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "no server: {:?}",
                said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn keygen(kind: &str, path: &str) {
    run(
        "ssh-keygen",
        &["-q", "-t", kind, "-N", "", "-C", "", "-f", path],
    );
}

#[test]
fn a_server_is_known_by_its_key_and_a_host_by_its_own() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let host = &fleet.host;
    fs::create_dir_all(host.at("config/state/ssh")).expect("made");
    let own = text(&host.at("config/state/ssh/ssh_host_ed25519_key"));
    keygen("ed25519", &own);
    let public = fs::read_to_string(format!("{own}.pub")).expect("read");
    let server = Server::start(host.root(), public.trim());
    fs::set_permissions(host.root(), fs::Permissions::from_mode(0o755)).expect("changed");
    let remote = |key: &str| {
        let url = format!(
            "ssh://root@127.0.0.1:{}{}",
            server.port,
            host.at("server.git").display()
        );
        let config = format!(
            "[config]\nremote = \"{url}\"\nfollow = \"main\"\nhost-key = \"{}\"\n",
            key.trim()
        );
        host.write(
            "run/domus/slice/domus.toml",
            &format!("version = 1\nfleet = \"example\"\n{config}"),
        );
    };
    let next = fleet.web("128MiB");
    let first = fleet.running();

    remote(&public);
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("another host key"), "{refused:?}");
    remote(&server.key);
    let stranger = text(&host.at("stranger"));
    keygen("ed25519", &stranger);
    fs::rename(&own, format!("{own}.aside")).expect("moved");
    fs::copy(&stranger, &own).expect("copied");
    let refused = fleet.pull();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("does not know this host's key"),
        "{refused:?}"
    );
    assert_eq!(fleet.running(), first);
    fs::rename(format!("{own}.aside"), &own).expect("moved");
    let pulled = fleet.pull();
    let log = fs::read_to_string(host.at("sshd.log")).expect("a log");
    assert_eq!(pulled.code, 0, "{pulled:?}\n{log}");
    assert_eq!(fleet.running(), next);
}
