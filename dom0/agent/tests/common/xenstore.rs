// SPDX-License-Identifier: GPL-3.0-or-later
//! A XenStore that answers READ and DIRECTORY on a socket. Wire format: `xen/io/xs_wire.h`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Result, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const DIRECTORY: u32 = 1;
const READ: u32 = 2;
const ERROR: u32 = 16;

type Nodes = Arc<Mutex<BTreeMap<String, String>>>;

pub(crate) struct XenStore(Nodes);

impl XenStore {
    /// Serves on `socket` as long as the test runs.
    pub(crate) fn serve(socket: &Path) -> Self {
        let nodes = Nodes::default();
        let listener = UnixListener::bind(socket).expect("bind");
        let served = Arc::clone(&nodes);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let nodes = Arc::clone(&served);
                // Ends when the client has closed the connection.
                std::thread::spawn(move || while answer(&stream, &nodes).is_ok() {});
            }
        });
        Self(nodes)
    }

    pub(crate) fn set(&self, path: &str, value: &str) {
        self.0
            .lock()
            .expect("lock")
            .insert(path.into(), value.into());
    }
}

fn answer(mut stream: &UnixStream, nodes: &Nodes) -> Result<()> {
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
    let mut payload = vec![0; word(12) as usize];
    stream.read_exact(&mut payload)?;
    let path = String::from_utf8_lossy(&payload)
        .trim_end_matches('\0')
        .to_owned();
    let nodes = nodes.lock().expect("lock");
    let below = format!("{path}/");
    let children = nodes
        .keys()
        .filter_map(|node| node.strip_prefix(&below)?.split('/').next());
    let children: BTreeSet<&str> = children.collect();
    let (kind, content) = match word(0) {
        READ if nodes.contains_key(&path) => (READ, nodes[&path].clone()),
        READ if !children.is_empty() => (READ, String::new()),
        DIRECTORY if !children.is_empty() => (
            DIRECTORY,
            children.iter().map(|child| format!("{child}\0")).collect(),
        ),
        READ | DIRECTORY => (ERROR, "ENOENT\0".to_owned()),
        _ => (ERROR, "ENOSYS\0".to_owned()),
    };
    let length = u32::try_from(content.len()).expect("short");
    let words = [kind, word(4), word(8), length].map(u32::to_le_bytes);
    stream.write_all(&[words.as_flattened(), content.as_bytes()].concat())
}
