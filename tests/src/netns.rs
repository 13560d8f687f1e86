// SPDX-License-Identifier: GPL-3.0-or-later
//! Network namespaces: machines of their own to whoever sends packets. They have no names, so that
//! nothing of them is left when a test ends, however it does.

use crate::ran::Ran;
use assert_cmd::Command;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{self, Stdio};
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long nobody answers.
const SILENCE: Duration = Duration::from_millis(1200);

/// A network namespace, which lives as long as this value and sockets that were made in it.
#[derive(Debug)]
pub struct Space(File);

impl Space {
    /// A new one, in which only `lo` is up.
    ///
    /// # Panics
    /// This is not root, or util-linux and iproute2 are missing.
    pub fn new() -> Self {
        // Whoever has unshared says so, and ends when its standard input does.
        let mut holder = process::Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; read -r _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let said = holder.stdout.take().expect("a pipe");
        let mut line = String::new();
        let read = BufReader::new(said).read_line(&mut line);
        let file = File::open(format!("/proc/{}/ns/net", holder.id()));
        drop(holder.stdin.take());
        holder.wait().expect("it ends");
        assert_eq!(read.expect("a line"), 1, "a namespace needs root");
        let space = Self(file.expect("a namespace"));
        space.ip("link set lo up");
        space
    }

    /// What `act` does in it, on a thread of its own.
    ///
    /// # Panics
    /// `act` does.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.0.as_fd(), network).expect("the namespace");
            act()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("done in the namespace"))
    }

    /// Runs a program in it.
    pub fn run(&self, program: &str, args: &[&str]) -> Ran {
        self.inside(|| Ran::of(Command::new(program).args(args), Duration::from_secs(30)))
    }

    /// Runs `ip` with these words.
    ///
    /// # Panics
    /// It does not succeed.
    pub fn ip(&self, words: &str) {
        let args: Vec<&str> = words.split(' ').collect();
        self.run("ip", &args).exits(0);
    }

    /// A cable from its interface `name` to another's of the same name, both up.
    ///
    /// # Panics
    /// It cannot be laid.
    pub fn cable(&self, name: &str, other: &Self, end: &str) {
        let path = format!("/proc/{}/fd/{}", process::id(), other.0.as_raw_fd());
        self.ip(&format!(
            "link add name {name} type veth peer name {end} netns {path}"
        ));
        self.ip(&format!("link set {name} up"));
        other.ip(&format!("link set {end} up"));
    }

    /// A socket that listens on `port` of all its addresses.
    ///
    /// # Panics
    /// The port is taken.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.inside(|| TcpListener::bind(("::", port)).expect("a port"))
    }

    /// Connects to `address` from it.
    ///
    /// # Panics
    /// Nobody answers.
    #[track_caller]
    pub fn connect(&self, address: &str) -> TcpStream {
        let to: SocketAddr = address.parse().expect("an address");
        let stream = self.inside(|| TcpStream::connect_timeout(&to, ANSWER));
        stream.unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// Asserts that nobody answers who connects to `address` from it.
    ///
    /// # Panics
    /// Somebody does.
    #[track_caller]
    pub fn meets_silence(&self, address: &str) {
        let to: SocketAddr = address.parse().expect("an address");
        let stream = self.inside(|| TcpStream::connect_timeout(&to, SILENCE));
        let error = stream.err().map(|error| error.kind());
        assert_eq!(error, Some(std::io::ErrorKind::TimedOut), "{address}");
    }
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}
