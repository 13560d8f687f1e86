// SPDX-License-Identifier: GPL-3.0-or-later
//! A real SSH server on loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An SSH server that serves git to whoever has the host's key.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    pub(crate) key: String,
}

impl Server {
    /// One that lets in whom these lines of `authorized_keys` name; what it needs is in `dir`.
    pub(crate) fn start(dir: &Path, authorized: &str) -> Self {
        let sshd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/sshd");
        assert!(
            sshd.join("usr/sbin/sshd").is_file(),
            "`make setup-tests` brings an SSH server"
        );
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let port = port.expect("a free port").port();
        let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
        keygen("ed25519", &at("server-key"));
        // As servers have them: one key of each kind.
        keygen("ecdsa", &at("other-key"));
        let key = fs::read_to_string(at("server-key.pub")).expect("read");
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

/// Makes a pair of keys.
pub(crate) fn keygen(kind: &str, path: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-C", "", "-f", path])
        .output();
    let made = made.expect("ssh-keygen");
    assert!(made.status.success(), "{made:?}");
}
