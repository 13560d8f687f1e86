// SPDX-License-Identifier: GPL-3.0-or-later
//! SSH into a rehearsed host: one connection that all commands share, as each new one costs
//! seconds where the machine is emulated.

use crate::ran::Ran;
use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time of a command.
const COMMAND: Duration = Duration::from_secs(300);
/// Longest time until the host takes a connection.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection as root.
#[derive(Debug)]
pub struct Ssh {
    socket: PathBuf,
}

impl Ssh {
    /// Connects to `port` on loopback with the private key `key`. `dir` is for its socket.
    ///
    /// # Panics
    /// The host does not let us in.
    pub fn open(port: u16, key: &Path, dir: &Path) -> Self {
        let ssh = Self {
            socket: dir.join("ssh.socket"),
        };
        let begin = Instant::now();
        loop {
            let log = dir.join("ssh.log");
            let mut master = ssh.command();
            // In the background once it is in, so its output cannot be a pipe to us.
            master
                .args(["-f", "-N", "-M", "-o", "BatchMode=yes"])
                .args(["-o", "ConnectTimeout=20", "-o", "StrictHostKeyChecking=no"])
                .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
                .args(["-o", "ServerAliveInterval=30", "-E"])
                .arg(&log)
                .args(["-p", &port.to_string(), "-i"])
                .arg(key)
                .arg("root@127.0.0.1");
            let status = quiet(&mut master);
            if status {
                return ssh;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "no SSH: {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Runs a command of root's shell there.
    pub fn run(&self, command: &str) -> Ran {
        let mut ssh = Command::from_std(self.command());
        Ran::of(ssh.arg("root@127.0.0.1").arg(command), COMMAND)
    }

    /// Runs a command there that reads `bytes`.
    ///
    /// # Panics
    /// It does not succeed.
    pub fn send(&self, command: &str, bytes: Vec<u8>) {
        let mut ssh = Command::from_std(self.command());
        ssh.arg("root@127.0.0.1").arg(command).write_stdin(bytes);
        Ran::of(&mut ssh, COMMAND).exits(0);
    }

    /// As [`Self::run`]; its standard output.
    ///
    /// # Panics
    /// It does not succeed.
    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        let ran = self.run(command);
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
        ran.stdout
    }

    /// `domus-dom0 status --json` once every domU is up, failed or stopped by hand.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let text = self.ok("domus-dom0 status --json --wait 90");
        serde_json::from_str(&text).expect("JSON")
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new("ssh");
        command.arg("-S").arg(&self.socket);
        command
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let mut exit = self.command();
        quiet(exit.args(["-O", "exit", "root@127.0.0.1"]));
    }
}

/// Whether it succeeds; what it says goes nowhere.
fn quiet(command: &mut std::process::Command) -> bool {
    let null = std::process::Stdio::null;
    let status = command.stdin(null()).stdout(null()).stderr(null()).status();
    status.is_ok_and(|status| status.success())
}
