// SPDX-License-Identifier: GPL-3.0-or-later
//! A serial console that is read and typed at.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Longest time of a command that is typed.
const COMMAND: Duration = Duration::from_secs(150);

/// A console, and what it has shown.
#[derive(Debug)]
pub struct Console {
    stream: UnixStream,
    seen: Vec<u8>,
    /// Up to where callers have waited.
    mark: usize,
    commands: u32,
}

impl Console {
    /// A console at the other end of `stream`.
    ///
    /// # Panics
    /// The stream takes no time limit.
    pub fn new(stream: UnixStream) -> Self {
        let limit = Some(Duration::from_millis(50));
        stream.set_read_timeout(limit).expect("a time limit");
        Self {
            stream,
            seen: Vec::new(),
            mark: 0,
            commands: 0,
        }
    }

    /// Waits until `text` is shown, and returns all that came since the last wait up to its end.
    ///
    /// # Panics
    /// It does not come within `limit`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> String {
        let begin = Instant::now();
        loop {
            let new = &self.seen[self.mark..];
            let found = new
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            if let Some(at) = found {
                let end = at + text.len();
                let shown = plain(&new[..end]);
                self.mark += end;
                return shown;
            }
            assert!(
                begin.elapsed() < limit,
                "no {text:?} within {} s; what came since the last wait:\n{}",
                limit.as_secs(),
                plain(new)
            );
            self.read();
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// Nobody is at the other end.
    pub fn send(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stream
            .write_all(line.as_bytes())
            .expect("the console takes what is typed");
    }

    /// Runs a command in the shell that is at the console; its exit code and what it said.
    ///
    /// # Panics
    /// It does not end in time.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> (i32, String) {
        self.commands += 1;
        let number = self.commands;
        // What is typed is echoed: the words must not look like the shell's answer to them.
        self.send(&format!(
            "echo be''gin-{number}; {command}; echo en''d-{number}-$?."
        ));
        self.wait_for(&format!("begin-{number}"), COMMAND);
        let end = format!("end-{number}-");
        let said = self.wait_for(&end, COMMAND);
        let code = self.wait_for(".", COMMAND);
        let code = code.trim_end_matches('.').parse();
        let said = said.trim_start_matches('\n').trim_end_matches(&end);
        (code.expect("an exit code"), said.to_owned())
    }

    /// As [`Self::run`], what it said only.
    ///
    /// # Panics
    /// It does not succeed.
    #[track_caller]
    pub fn ok(&mut self, command: &str) -> String {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "{command}: {said}");
        said
    }

    /// Takes what comes in this time. A console that nobody reads holds its machine up.
    pub fn read_for(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.read();
        }
    }

    /// Takes what came, or waits a moment for it.
    pub fn read(&mut self) {
        let mut buffer = [0; 4096];
        // Nothing within the time limit is no news; a machine that is gone shows at the caller's.
        match self.stream.read(&mut buffer) {
            Ok(0) => std::thread::sleep(Duration::from_millis(50)),
            Ok(n) => self.seen.extend(&buffer[..n]),
            Err(_) => {}
        }
    }
}

/// Text without carriage returns.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}
