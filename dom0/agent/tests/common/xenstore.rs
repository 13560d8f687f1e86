// SPDX-License-Identifier: GPL-3.0-or-later
//! A XenStore that answers READ, DIRECTORY, WRITE and WATCH on a socket. Wire format: `xen/io/xs_wire.h`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Result, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const DIRECTORY: u32 = 1;
const READ: u32 = 2;
const WATCH: u32 = 4;
const WRITE: u32 = 11;
const UNWATCH: u32 = 5;
const EVENT: u32 = 15;
const ERROR: u32 = 16;

/// Nodes that are there as long as something else is.
type Passing = Box<dyn Fn() -> BTreeMap<String, String> + Send>;

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, String>,
    passing: Option<Passing>,
    watches: Vec<(String, UnixStream)>,
}

type Nodes = Arc<Mutex<State>>;

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

    /// Has these nodes as well, asked for each time.
    pub(crate) fn has_also(&self, nodes: impl Fn() -> BTreeMap<String, String> + Send + 'static) {
        self.0.lock().expect("lock").passing = Some(Box::new(nodes));
    }

    /// How many nodes there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().expect("lock").nodes.len()
    }

    /// How many watches nobody has ended.
    pub(crate) fn watches(&self) -> usize {
        self.0.lock().expect("lock").watches.len()
    }

    pub(crate) fn set(&self, path: &str, value: &str) {
        self.0.lock().expect("lock").set(path, value);
    }

    /// Tells that a domain came.
    pub(crate) fn introduce(&self) {
        self.0.lock().expect("lock").tell("@introduceDomain");
    }

    pub(crate) fn get(&self, path: &str) -> Option<String> {
        self.0.lock().expect("lock").nodes.get(path).cloned()
    }
}

impl State {
    fn set(&mut self, path: &str, value: &str) {
        self.nodes.insert(path.into(), value.into());
        self.tell(path);
    }

    /// Tells whoever watches it.
    fn tell(&self, path: &str) {
        for (watched, stream) in &self.watches {
            if path.starts_with(watched.as_str()) {
                // Who listens no more is no matter.
                let event = format!("{path}\0{watched}\0");
                let _ = (&*stream).write_all(&message(EVENT, [0, 0], event.as_bytes()));
            }
        }
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
    let mut state = nodes.lock().expect("lock");
    if matches!(word(0), WATCH | UNWATCH) {
        let path = path.split('\0').next().unwrap_or_default().to_owned();
        state.watches.retain(|(watched, _)| *watched != path);
        if word(0) == WATCH {
            state.watches.push((path.clone(), stream.try_clone()?));
        }
        stream.write_all(&message(word(0), [word(4), word(8)], b"OK\0"))?;
        let event = format!("{path}\0{path}\0");
        return match word(0) {
            WATCH => stream.write_all(&message(EVENT, [0, 0], event.as_bytes())),
            _ => Ok(()),
        };
    }
    if word(0) == WRITE {
        let (path, value) = path.split_once('\0').unwrap_or((&path, ""));
        state.set(path, value);
        return stream.write_all(&message(WRITE, [word(4), word(8)], b"OK\0"));
    }
    let mut nodes = state.nodes.clone();
    nodes.extend(state.passing.iter().flat_map(|passing| passing()));
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
    stream.write_all(&message(kind, [word(4), word(8)], content.as_bytes()))
}

fn message(kind: u32, [request, transaction]: [u32; 2], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("short");
    let words = [kind, request, transaction, length].map(u32::to_le_bytes);
    [words.as_flattened(), content].concat()
}
