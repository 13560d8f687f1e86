// SPDX-License-Identifier: GPL-3.0-or-later
//! A pack while it is being received. libgit2 unpacks what it gets and asks nobody how large that
//! is; here the same file is read as it grows, and what would take too much is refused before it is
//! unpacked. What is a difference is unpacked last of all, when all the rest has been looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use git2::{Odb, Oid, Progress};
use sha1_smol::Sha1;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::Kind;
use super::delta;
use super::file::{Form, PACK, head};
use crate::open::{LARGEST_BASE, LARGEST_COMMIT, LARGEST_TREE, SEND_WHOLE};
use crate::tree::Id;

/// Most objects that one fetch may bring: for each libgit2 keeps some 150 bytes.
const MOST_OBJECTS: usize = 2_000_000;
/// Most bytes that they may have, unpacked: libgit2 hashes them all.
const MOST_UNPACKED: u64 = 4 << 30;
/// How many bytes come before somebody looks at them.
const STEP: usize = 64 << 10;
/// More bytes than stand before any object.
const LONGEST_HEAD: usize = 64;
/// What a pack begins with: magic, version, how many objects it has.
const START: usize = 12;

/// The pack that a fetch brings.
pub(crate) struct Incoming<'r> {
    /// What was there before.
    known: Odb<'r>,
    directory: PathBuf,
    file: Option<File>,
    /// How many bytes had come when it was looked at last.
    looked: usize,
    scan: Scan,
    is_done: bool,
}

impl<'r> Incoming<'r> {
    /// One that libgit2 writes below `objects`, where nobody else writes meanwhile.
    pub(crate) fn new(known: Odb<'r>, objects: &Path) -> Self {
        Self {
            known,
            directory: objects.join("pack"),
            file: None,
            looked: 0,
            scan: Scan::new(),
            is_done: false,
        }
    }

    /// Looks at what has come, when libgit2 says how far it is. It does so after the last object,
    /// too, and then begins with the differences.
    ///
    /// # Errors
    /// It is too large, or cannot be looked at.
    pub(crate) fn look(&mut self, progress: &Progress<'_>) -> Result<()> {
        let (there, all) = (progress.received_objects(), progress.total_objects());
        if self.is_done || all == 0 {
            return Ok(());
        }
        ensure!(
            all <= MOST_OBJECTS,
            "it has {all} objects, and more than {MOST_OBJECTS} are not taken at once"
        );
        self.is_done = there == all;
        let came = progress.received_bytes();
        if !self.is_done && came < self.looked + STEP {
            return Ok(());
        }
        self.looked = came;
        self.read().context("looking at what comes")?;
        if self.is_done {
            self.scan.ensure_whole()?;
            self.scan.ensure_bases(&self.known)?;
        }
        Ok(())
    }

    /// Whether nothing is refused of what a pack begins with.
    #[cfg(test)]
    pub(super) fn accepts(beginning: &[u8]) -> bool {
        Scan::new().take(beginning).is_ok()
    }

    /// Whether a pack is taken that comes in these parts.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn takes<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> bool {
        let mut scan = Scan::new();
        let mut parts = parts.into_iter();
        parts.all(|part| scan.take(part).is_ok()) && scan.ensure_whole().is_ok()
    }

    fn read(&mut self) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(File::open(unfinished(&self.directory)?)?),
        };
        let mut chunk = vec![0; STEP];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(()),
                length => self.scan.take(&chunk[..length])?,
            }
        }
    }
}

/// The pack that libgit2 is writing: until it is whole it has another name.
fn unfinished(directory: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("pack_") {
            return Ok(entry.path());
        }
    }
    bail!("there is no pack in {}", directory.display())
}

/// Reads a pack from its beginning, in parts of any length, and keeps of it how large things are.
struct Scan {
    /// What came and could not be read without what follows.
    unread: Vec<u8>,
    /// Where in the pack that begins.
    at: u64,
    state: State,
    inflate: Inflate,
    /// What was unpacked last.
    made: Vec<u8>,
    /// How many objects there are to come.
    left: u32,
    /// How many bytes all of them have so far.
    unpacked: u64,
    /// Whole ones that no other may be a difference to, by place and by id.
    large: BTreeMap<u64, usize>,
    large_ids: BTreeMap<Id, usize>,
    /// Ids of what others are differences to.
    named: BTreeSet<Id>,
}

enum State {
    Start,
    Head,
    Body(Body),
    End,
}

/// An object that is being unpacked.
struct Body {
    start: u64,
    size: usize,
    made: usize,
    /// Of a difference, what it begins with.
    delta: Option<Vec<u8>>,
    /// Of what is too large to be a base, what makes its id.
    hash: Option<Sha1>,
}

impl Scan {
    fn new() -> Self {
        Self {
            unread: Vec::new(),
            at: 0,
            state: State::Start,
            inflate: Inflate::new(true, 15),
            made: vec![0; STEP],
            left: 0,
            unpacked: 0,
            large: BTreeMap::new(),
            large_ids: BTreeMap::new(),
            named: BTreeSet::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let mut unread = mem::take(&mut self.unread);
        unread.extend_from_slice(bytes);
        let mut rest = &unread[..];
        while let Some(used) = self.step(rest)? {
            rest = &rest[used..];
            self.at += used as u64;
        }
        self.unread = rest.to_vec();
        Ok(())
    }

    /// How many bytes were read; `None` if more have to come first.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        match mem::replace(&mut self.state, State::End) {
            State::Start => self.start(bytes),
            State::Head => self.head(bytes),
            State::Body(body) => self.body(body, bytes),
            State::End => Ok(None),
        }
    }

    fn start(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some((start, _)) = bytes.split_first_chunk::<START>() else {
            self.state = State::Start;
            return Ok(None);
        };
        ensure!(start.starts_with(PACK), "it is no pack of version 2");
        let [.., a, b, c, d] = *start;
        self.left = u32::from_be_bytes([a, b, c, d]);
        self.next();
        Ok(Some(START))
    }

    /// Goes on to the next object, if there is one.
    fn next(&mut self) {
        self.state = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                State::Head
            }
            None => State::End,
        };
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some((form, size, data)) = head(bytes) else {
            ensure!(bytes.len() < LONGEST_HEAD, "it is damaged");
            self.state = State::Head;
            return Ok(None);
        };
        self.unpacked = self.unpacked.saturating_add(size as u64);
        ensure!(
            self.unpacked <= MOST_UNPACKED,
            "what it has is more than {MOST_UNPACKED} bytes, unpacked"
        );
        let (mut delta, mut hash) = (None, None);
        match form {
            Form::Whole(kind) => {
                ensure_size(kind, size)?;
                hash = (size > LARGEST_BASE).then(|| {
                    let head = format!("{} {size}\0", kind.name());
                    Sha1::from(head.as_bytes())
                });
            }
            Form::Behind(distance) => {
                let base = self.at.checked_sub(distance as u64);
                let base = base.and_then(|base| self.large.get(&base));
                base.map_or(Ok(()), |size| too_large_a_base(*size))?;
                delta = Some(Vec::new());
            }
            Form::Named(id) => {
                self.named.insert(id);
                delta = Some(Vec::new());
            }
        }
        if delta.is_some() {
            ensure_difference(size)?;
        }
        self.inflate.reset(true);
        self.state = State::Body(Body {
            start: self.at,
            size,
            made: 0,
            delta,
            hash,
        });
        Ok(Some(bytes.len() - data.len()))
    }

    fn body(&mut self, mut body: Body, bytes: &[u8]) -> Result<Option<usize>> {
        let (total_in, total_out) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(bytes, &mut self.made, InflateFlush::NoFlush);
        let status = status.ok().context("it is damaged")?;
        let used = (self.inflate.total_in() - total_in) as usize;
        let made = &self.made[..(self.inflate.total_out() - total_out) as usize];
        body.made += made.len();
        ensure!(
            body.made <= body.size,
            "an object has more than the {} bytes that it says",
            body.size
        );
        if let Some(hash) = &mut body.hash {
            hash.update(made);
        }
        if let Some(delta) = &mut body.delta {
            let room = delta::SIZES - delta.len();
            delta.extend_from_slice(&made[..room.min(made.len())]);
        }
        if status == Status::StreamEnd {
            self.end(body)?;
            return Ok(Some(used));
        }
        let is_stuck = used == 0 && made.is_empty();
        self.state = State::Body(body);
        Ok((!is_stuck).then_some(used))
    }

    fn end(&mut self, body: Body) -> Result<()> {
        if let Some(delta) = &body.delta {
            let (base, made) = delta::sizes(delta).context("it is damaged")?;
            ensure_difference(base.max(made))?;
        }
        if let Some(hash) = body.hash {
            self.large.insert(body.start, body.size);
            self.large_ids.insert(hash.digest().bytes(), body.size);
        }
        self.next();
        Ok(())
    }

    fn ensure_whole(&self) -> Result<()> {
        ensure!(matches!(self.state, State::End), "it was cut off");
        Ok(())
    }

    /// Makes sure that nothing is a difference to something large, of the pack or of what is known.
    fn ensure_bases(&self, known: &Odb<'_>) -> Result<()> {
        for id in &self.named {
            let size = match self.large_ids.get(id) {
                Some(size) => *size,
                // It is in the pack, or libgit2 misses it.
                None => known
                    .read_header(Oid::from_bytes(id)?)
                    .map_or(0, |(size, _)| size),
            };
            ensure_difference(size)?;
        }
        Ok(())
    }
}

/// Makes sure that somebody may read a whole object of this size.
fn ensure_size(kind: Kind, size: usize) -> Result<()> {
    let most = match kind {
        Kind::Commit | Kind::Tag => LARGEST_COMMIT,
        Kind::Tree => LARGEST_TREE,
        // Files of other hosts may be large. Nobody reads them.
        Kind::Blob => return Ok(()),
    };
    let name = kind.name();
    ensure!(
        size <= most,
        "a {name} in it has {size} bytes, and more than {most} are not read"
    );
    Ok(())
}

/// Makes sure that a difference of this size, to this or that makes this, may be unpacked.
fn ensure_difference(size: usize) -> Result<()> {
    match size > LARGEST_BASE {
        true => too_large_a_base(size),
        false => Ok(()),
    }
}

fn too_large_a_base(size: usize) -> Result<()> {
    bail!(
        "it has an object as a difference to or from {size} bytes, and more than {LARGEST_BASE} \
         are not unpacked for that: {SEND_WHOLE}"
    )
}
