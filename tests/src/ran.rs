// SPDX-License-Identifier: GPL-3.0-or-later
//! A program that has run: its exit code and what it said.

use assert_cmd::Command;
use std::path::Path;
use std::time::Duration;

/// What a program left.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; none if a signal or the time limit ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs `command`, `limit` at most.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn of(command: &mut Command, limit: Duration) -> Self {
        let output = command.timeout(limit).output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs `program` with `args`, a minute at most, and returns its standard output.
    ///
    /// # Panics
    /// It does not succeed.
    pub fn program(program: &str, args: &[&str]) -> String {
        let ran = Self::of(Command::new(program).args(args), Duration::from_secs(60));
        assert_eq!(ran.code, Some(0), "{program} {args:?}: {ran:?}");
        ran.stdout
    }

    /// As [`Self::program`], in the directory `dir`.
    ///
    /// # Panics
    /// It does not succeed.
    pub fn program_in(dir: &Path, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        let ran = Self::of(command.args(args).current_dir(dir), Duration::from_secs(60));
        assert_eq!(ran.code, Some(0), "{program} {args:?}: {ran:?}");
        ran.stdout
    }

    /// Asserts that it exited with `code`.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "standard output:\n{}\nstandard error:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that its standard error has each of `texts`.
    ///
    /// # Panics
    /// It has not.
    #[track_caller]
    pub fn complains(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "no {text:?} in:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}
