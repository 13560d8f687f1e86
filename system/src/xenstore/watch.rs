// SPDX-License-Identifier: GPL-3.0-or-later
//! Hearing of changes in XenStore at once, by the daemon's socket or, in a domU, by the kernel's device:
//! the library for the rest offers that with an asynchronous runtime only. Wire format:
//! `xen/io/xs_wire.h`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Where xenstored listens, unless the environment says otherwise (`xs_daemon_socket` of libxenstore).
const SOCKET: &str = "/run/xenstored/socket";
/// What a domU has.
const DEVICE: &str = "/dev/xen/xenbus";
const SOCKET_VARIABLE: &str = "XENSTORED_PATH";
/// What a message can carry, in bytes.
const PAYLOAD_LIMIT: usize = 4096;

const WATCH: u32 = 4;
const UNWATCH: u32 = 5;
const WATCH_EVENT: u32 = 15;

/// A domain was made. To be watched like a path.
pub const INTRODUCED: &str = "@introduceDomain";
/// A domain is ending or has ended.
pub const RELEASED: &str = "@releaseDomain";

/// Says what to watch.
#[derive(Debug)]
pub struct Watcher(File);

/// Hears of it, from a thread of its own.
#[derive(Debug)]
pub struct Listener(File);

/// Connects to xenstored, so that watches end with the connection.
///
/// # Errors
/// It does not run, and this is no domU.
pub fn open() -> Result<(Watcher, Listener)> {
    let named = std::env::var(SOCKET_VARIABLE).ok();
    let path = named.as_deref().unwrap_or(SOCKET);
    let is_guest = named.is_none() && !Path::new(path).exists() && Path::new(DEVICE).exists();
    let path = if is_guest { DEVICE } else { path };
    let doing = || format!("connecting to XenStore at {path}");
    let file = match is_guest {
        true => OpenOptions::new().read(true).write(true).open(path),
        false => UnixStream::connect(path).map(|stream| File::from(OwnedFd::from(stream))),
    };
    let file = file.with_context(doing)?;
    let other = file.try_clone().with_context(doing)?;
    Ok((Watcher(file), Listener(other)))
}

impl Watcher {
    /// Watches `path` and all below it. It is heard of once at the beginning.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn watch(&mut self, path: &str) -> Result<()> {
        self.send(WATCH, path)
            .with_context(|| format!("watching {path} in XenStore"))
    }

    /// Watches `path` no more. What was sent before may still be heard.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn forget(&mut self, path: &str) -> Result<()> {
        self.send(UNWATCH, path)
            .with_context(|| format!("watching {path} in XenStore no more"))
    }

    fn send(&mut self, kind: u32, path: &str) -> Result<()> {
        // The token says the same as the path.
        let payload = format!("{path}\0{path}\0");
        let length = u32::try_from(payload.len())?;
        let head = [kind, 0, 0, length].map(u32::to_ne_bytes);
        let message = [head.as_flattened(), payload.as_bytes()].concat();
        Ok(self.0.write_all(&message)?)
    }
}

impl Listener {
    /// Waits until something that is watched changes, and says which watch: the path that
    /// [`Watcher::watch`] was given.
    ///
    /// # Errors
    /// The connection is broken: xenstored ended.
    pub fn heard(&mut self) -> Result<String> {
        loop {
            let (kind, payload) = self.receive().context("listening to XenStore")?;
            if kind != WATCH_EVENT {
                // An answer to what was sent: that a path is watched twice, or not at all, is fine.
                continue;
            }
            let mut words = payload.split(|byte| *byte == 0);
            if let Some(token) = words.nth(1) {
                return Ok(String::from_utf8_lossy(token).into_owned());
            }
        }
    }

    fn receive(&mut self) -> Result<(u32, Vec<u8>)> {
        let mut head = [0; 16];
        self.0.read_exact(&mut head)?;
        let (words, _) = head.as_chunks::<4>();
        let [kind, _, _, length] = [0, 1, 2, 3].map(|at| u32::from_ne_bytes(words[at]));
        let length = usize::try_from(length)?;
        ensure!(length <= PAYLOAD_LIMIT, "a message of {length} bytes");
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u32, payload: &str) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short");
        let head = [kind, 0, 0, length].map(u32::to_ne_bytes);
        [head.as_flattened(), payload.as_bytes()].concat()
    }

    #[test]
    fn what_is_watched_is_heard_of_and_answers_are_passed_over() {
        let (mut daemon, ours) = UnixStream::pair().expect("a pair");
        let ours = File::from(OwnedFd::from(ours));
        let mut watcher = Watcher(ours.try_clone().expect("clone"));
        let mut listener = Listener(ours);
        watcher.watch("/local/domain/3/data").expect("watch");
        let sent = message(WATCH, "/local/domain/3/data\0/local/domain/3/data\0");
        let mut received = vec![0; sent.len()];
        daemon.read_exact(&mut received).expect("read");
        assert_eq!(received, sent);
        let event = "/local/domain/3/data/x\0/local/domain/3/data\0";
        for (kind, payload) in [
            (WATCH, "OK\0"),
            (16, "EEXIST\0"),
            (WATCH_EVENT, "nonsense"),
            (WATCH_EVENT, event),
        ] {
            daemon.write_all(&message(kind, payload)).expect("write");
        }
        assert_eq!(listener.heard().expect("an event"), "/local/domain/3/data");
        let mut long = message(WATCH_EVENT, "");
        long[12..].copy_from_slice(&u32::MAX.to_ne_bytes());
        daemon.write_all(&long).expect("write");
        assert!(listener.heard().is_err(), "no message is so long");
        drop(daemon);
        assert!(listener.heard().is_err());
    }
}
