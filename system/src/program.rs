// SPDX-License-Identifier: GPL-3.0-or-later
//! Running other programs: standard input closed or given, the whole command line and the end of
//! standard error in every failure, the Debian package named when the program is missing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::interrupt;

/// How often a waiting parent looks at its child and at Ctrl-C.
const LOOK: Duration = Duration::from_millis(10);
/// How much of standard error an error message carries, in bytes.
const TAIL: usize = 1024;

/// Debian packages of the programs that an operator's machine or a host needs.
const PACKAGES: &[(&str, &str)] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("lvcreate", "lvm2"),
    ("lvchange", "lvm2"),
    ("lvextend", "lvm2"),
    ("lvremove", "lvm2"),
    ("lvrename", "lvm2"),
    ("lvs", "lvm2"),
    ("pvcreate", "lvm2"),
    ("pvs", "lvm2"),
    ("vgcreate", "lvm2"),
    ("mdadm", "mdadm"),
    ("systemd-repart", "systemd-repart"),
    ("e2fsck", "e2fsprogs"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkswap", "util-linux"),
    ("nft", "nftables"),
    ("openssl", "openssl"),
    ("lsblk", "util-linux"),
    ("blkid", "util-linux"),
    ("smartctl", "smartmontools"),
    ("ssh-keygen", "openssh-client"),
    ("git", "git"),
];

/// A program with its arguments, not yet run.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Option<Vec<u8>>,
    /// Whether standard input comes from a file that was given.
    from_file: bool,
    /// Whether standard output goes to a file that was given.
    to_file: bool,
    /// Whether it may ask whoever sits at the terminal.
    asks: bool,
    /// Whether it runs to its end when a signal came.
    clears: bool,
    /// How long it may take.
    limit: Option<Duration>,
}

/// What a program that ended well wrote.
#[derive(Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Program {
    /// `program` by name (searched on `PATH`) or by path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            command: Command::new(program),
            input: None,
            from_file: false,
            to_file: false,
            asks: false,
            clears: false,
            limit: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs the program in `dir`.
    #[must_use]
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives the program `bytes` on standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Gives the program `file` on standard input, from where it stands.
    #[must_use]
    pub fn stdin_from(mut self, file: File) -> Self {
        self.command.stdin(file);
        self.from_file = true;
        self
    }

    /// Lets the program ask whoever sits at the terminal, for a passphrase or a touch: it shares
    /// the terminal with Domus, and what it says there is no part of an error.
    #[must_use]
    pub fn asking(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Lets the program run to its end when a signal came: it clears away what was begun.
    #[must_use]
    pub fn clearing(mut self) -> Self {
        self.clears = true;
        self
    }

    /// Kills the program, and what it started, once it has taken so long, and goes on without waiting
    /// for its end: what waits for a device that does not answer may not end for minutes.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sends standard output to `file` instead of memory.
    #[must_use]
    pub fn stdout_to(mut self, file: File) -> Self {
        self.command.stdout(file);
        self.to_file = true;
        self
    }

    /// The command line as one would type it.
    pub fn line(&self) -> String {
        let mut words = vec![self.command.get_program().to_os_string()];
        words.extend(self.command.get_args().map(OsStr::to_os_string));
        words.iter().map(quote).collect::<Vec<_>>().join(" ")
    }

    /// Runs to the end and discards standard output.
    ///
    /// # Errors
    /// As [`Program::output`], for a program whose standard output goes to a file or nowhere.
    pub fn run(mut self) -> Result<()> {
        if !self.to_file {
            self.command.stdout(Stdio::null());
        }
        let line = self.line();
        let mut child = self.spawn(&line)?;
        let stderr = drain(child.stderr.take());
        let status = self.wait(&mut child, &line)?;
        check(&line, status, &collect(stderr))
    }

    /// Runs to the end and returns what was written.
    ///
    /// # Errors
    /// The program is missing, cannot be started, fails, is killed, or Domus is interrupted.
    pub fn output(self) -> Result<Output> {
        let (line, status, output) = self.finish()?;
        check(&line, status, &output.stderr)?;
        Ok(output)
    }

    /// The same of a program some of whose exit codes are no failures: which it was, 0 or one of
    /// `known`.
    ///
    /// # Errors
    /// As [`Program::output`].
    pub fn answer(self, known: &[i32]) -> Result<(i32, Output)> {
        let (line, status, output) = self.finish()?;
        match status.code() {
            Some(code) if known.contains(&code) => Ok((code, output)),
            _ => {
                check(&line, status, &output.stderr)?;
                Ok((0, output))
            }
        }
    }

    fn finish(mut self) -> Result<(String, ExitStatus, Output)> {
        self.command.stdout(Stdio::piped());
        let line = self.line();
        let mut child = self.spawn(&line)?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let status = self.wait(&mut child, &line)?;
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        Ok((line, status, Output { stdout, stderr }))
    }

    fn wait(&self, child: &mut Child, line: &str) -> Result<ExitStatus> {
        let is_caught = || interrupt::caught() && !self.clears;
        wait(child, line, self.limit, is_caught)
    }

    fn spawn(&mut self, line: &str) -> Result<Child> {
        let program = self.command.get_program().to_string_lossy().into_owned();
        // A group of its own: whatever the program has started ends with it. mmdebstrap for one
        // ignores the signals that reach it alone and waits for what it runs. Only a program of
        // Domus' own group may read from the terminal.
        if !self.asks {
            self.command.process_group(0).stderr(Stdio::piped());
        }
        if !self.from_file {
            self.command.stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            });
        }
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(missing(&program)),
            Err(error) => return Err(error).with_context(|| format!("starting `{line}`")),
        };
        if let (Some(bytes), Some(mut stdin)) = (self.input.take(), child.stdin.take()) {
            // A program that ends without reading its input says so by its exit status.
            std::thread::spawn(move || stdin.write_all(&bytes));
        }
        Ok(child)
    }
}

/// The error for a program that is not on this machine.
pub fn missing(program: &str) -> String {
    let base = Path::new(program)
        .file_name()
        .map_or(program.into(), OsStr::to_string_lossy);
    match PACKAGES.iter().find(|(name, _)| *name == base) {
        Some((_, package)) => {
            format!("{base} is missing: install it with `apt-get install {package}`")
        }
        None => format!("{program} is missing"),
    }
}

/// Whether `program` is on `PATH`; the error names the Debian package.
///
/// # Errors
/// It is not.
pub fn require(program: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    anyhow::ensure!(found, missing(program));
    Ok(())
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> Option<JoinHandle<Vec<u8>>> {
    pipe.map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is all there is to show.
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
    })
}

fn collect(thread: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    thread
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default()
}

fn wait(
    child: &mut Child,
    line: &str,
    limit: Option<Duration>,
    is_caught: impl Fn() -> bool,
) -> Result<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("waiting for `{line}`"))?
        {
            if is_caught() {
                interrupt::check()?;
            }
            return Ok(status);
        }
        if is_caught() {
            // As a terminal does it.
            end(child, Signal::INT, kill_process_group);
            interrupt::check()?;
        }
        if let Some(limit) = limit.filter(|limit| begin.elapsed() >= *limit) {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            // Nobody reaps it otherwise where it does end at once.
            std::thread::sleep(LOOK);
            let _ = child.try_wait();
            bail!("`{line}` has not ended within {} s", limit.as_secs_f32());
        }
        std::thread::sleep(LOOK);
    }
}

/// Asks a child to end, gives it ten seconds to clear up after itself, then kills it.
pub fn terminate(child: &mut Child) {
    end(child, Signal::TERM, kill_process);
}

/// As [`terminate`], by this signal first and by this way of sending signals.
fn end(child: &mut Child, first: Signal, send: fn(Pid, Signal) -> rustix::io::Result<()>) {
    let pid = Pid::from_child(child);
    let _ = send(pid, first);
    for _ in 0..1000 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    let _ = send(pid, Signal::KILL);
    let _ = child.wait();
}

fn check(line: &str, status: ExitStatus, stderr: &[u8]) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let tail = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(TAIL)..]);
    let tail = tail.trim();
    if tail.is_empty() {
        bail!("`{line}` failed ({status}) and said nothing");
    }
    bail!("`{line}` failed ({status}):\n{tail}")
}

fn quote(word: &OsString) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_command_and_the_end_of_stderr() {
        let error = Program::new("sh")
            .args(["-c", "echo bad thing >&2; exit 3"])
            .run();
        let text = error.expect_err("exit 3").to_string();
        assert!(
            text.contains("`sh -c 'echo bad thing >&2; exit 3'` failed"),
            "{text}"
        );
        assert!(text.ends_with("bad thing"), "{text}");
    }

    #[test]
    fn a_missing_program_names_its_debian_package() {
        let line = missing("/usr/bin/mmdebstrap");
        assert_eq!(
            line,
            "mmdebstrap is missing: install it with `apt-get install mmdebstrap`"
        );
        let error = Program::new("no-such-program-here")
            .run()
            .expect_err("missing");
        assert_eq!(error.to_string(), "no-such-program-here is missing");
    }

    #[test]
    fn what_takes_too_long_is_not_waited_for() {
        let begin = Instant::now();
        // What it started holds the pipe as long as it lives.
        let error = Program::new("sh")
            .args(["-c", "trap '' TERM; sleep 60 & echo said; wait"])
            .within(Duration::from_millis(200))
            .output()
            .expect_err("it sleeps");
        assert!(begin.elapsed() < Duration::from_secs(10));
        let text = error.to_string();
        assert!(text.ends_with("has not ended within 0.2 s"), "{text}");
        let limit = Duration::from_secs(60);
        assert!(Program::new("true").within(limit).run().is_ok());
    }

    #[test]
    fn input_and_output_pass_through() {
        let output = Program::new("cat").input("as it is").output().expect("cat");
        assert_eq!(output.stdout, b"as it is");
    }
}
