// SPDX-License-Identifier: GPL-3.0-or-later
//! `pull` over https, from a real server on loopback whose certificate is known or is not.

mod common;
mod fleet;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Ran;
use fleet::{Fleet, run, text};

/// A git server.
struct Server {
    process: Child,
    port: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let at = |name: &str| text(&dir.join(name));
        let (key, certificate) = (at("tls.key"), at("tls.pem"));
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
        let subject = ["-days", "2", "-subj", "/CN=test", "-addext", names];
        let kind = ["req", "-x509", "-nodes", "-newkey", "rsa:2048"];
        let files = ["-keyout", &key, "-out", &certificate];
        run("openssl", &[&kind[..], &subject, &files].concat());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/https.py");
        let process = Command::new("python3")
            .args([&script, dir])
            .args([&certificate, &key, &at("port")])
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.join("https.log")).expect("a log"))
            .spawn()
            .expect("python3");
        let mut server = Self {
            process,
            port: String::new(),
        };
        let begin = Instant::now();
        while !dir.join("port").exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "no server");
            std::thread::sleep(Duration::from_millis(20));
        }
        server.port = fs::read_to_string(dir.join("port")).expect("a port");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_is_known_by_who_signed_its_certificate() {
    let fleet = Fleet::new("[config]\nREMOTE\n");
    let server = Server::start(fleet.host.root());
    let remote = |path: &str| {
        let url = format!("https://127.0.0.1:{}{path}/server.git", server.port);
        let config = format!("[config]\nremote = \"{url}\"\nfollow = \"main\"\n");
        let document = format!("version = 1\nfleet = \"example\"\n{config}");
        fleet.host.write("run/domus/slice/domus.toml", &document);
    };
    let pull = |trusted: &str| -> Ran {
        let mut pull = fleet.host.command(&["pull"]);
        pull.env("SSL_CERT_FILE", fleet.host.at(trusted));
        Ran::from(pull.output().expect("run"))
    };
    let first = fleet.running();
    let next = fleet.web("128MiB");
    remote("");
    fleet.host.write("nobody.pem", "");
    let refused = pull("nobody.pem");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("certificate"), "{refused:?}");
    // A server that sends hosts elsewhere is not the one that the fleet names.
    remote("/elsewhere");
    let refused = pull("tls.pem");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("redirect"), "{refused:?}");
    assert_eq!(fleet.running(), first);
    remote("");
    let log = || fs::read_to_string(fleet.host.at("https.log"));
    let pulled = pull("tls.pem");
    assert_eq!(pulled.code, 0, "{pulled:?} {:?}", log());
    assert_eq!(fleet.running(), next);
}
