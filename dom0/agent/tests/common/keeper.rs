// SPDX-License-Identifier: GPL-3.0-or-later
//! `run` in the background.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::Host;

/// How long anything may take on a machine that does other things as well.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// An agent that keeps domUs running, and what it says.
pub(crate) struct Keeper {
    pub(crate) child: Child,
    said: Receiver<String>,
}

impl Keeper {
    pub(crate) fn of(host: &Host) -> Self {
        let mut child = host
            .command(&["run"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawn");
        let lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let (say, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, said }
    }

    /// Waits until it says something with this in it. Returns what it said before.
    pub(crate) fn says(&self, text: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let line = self.said.recv_timeout(LIMIT);
            let line = line.unwrap_or_else(|_| panic!("never {text:?}, but {all:#?}"));
            if line.contains(text) {
                return all;
            }
            all.push(line);
        }
    }

    /// Ends it, and returns all that it said since it was last asked.
    pub(crate) fn all(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.said.iter().collect()
    }

    /// Ends it as systemd does.
    pub(crate) fn end(mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()).expect("a number");
        let id = rustix::process::Pid::from_raw(id).expect("a number");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("kill");
        self.child.wait().expect("wait").code()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
