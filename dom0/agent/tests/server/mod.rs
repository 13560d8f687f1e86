// SPDX-License-Identifier: GPL-3.0-or-later
//! A git server for https on loopback.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, run, text};

/// A git server.
pub(crate) struct Server {
    process: Child,
    port: String,
}

impl Server {
    pub(crate) fn start(dir: &Path) -> Self {
        let at = |name: &str| text(&dir.join(name));
        let (key, certificate) = (at("tls.key"), at("tls.pem"));
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
        let subject = ["-days", "2", "-subj", "/CN=test", "-addext", names];
        let kind = ["req", "-x509", "-nodes", "-newkey", "rsa:2048"];
        let files = ["-keyout", &key, "-out", &certificate];
        run("openssl", &[&kind[..], &subject, &files].concat());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/https.py");
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

    /// Lets a fleet's host pull from here, from `path`.
    pub(crate) fn serve(&self, fleet: &Fleet, path: &str) {
        let url = format!("https://127.0.0.1:{}{path}/server.git", self.port);
        let config = format!("[config]\nremote = \"{url}\"\nfollow = \"main\"\n");
        let document = format!("version = 1\nfleet = \"example\"\n{config}");
        fleet.host.write("run/domus/slice/domus.toml", &document);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
