// SPDX-License-Identifier: GPL-3.0-or-later
//! Objects out of git's pack files, for who reads a million of them. It knows the usual and nothing
//! else: what is loose, elsewhere, too large or damaged is `None` here and libgit2's to read, or to
//! refuse in its words. Format: gitformat-pack(5).

mod delta;
mod file;
#[cfg(feature = "remotes")]
mod incoming;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "remotes")]
use anyhow::Context;
use anyhow::Result;
use domus_system::atomic;
#[cfg(feature = "remotes")]
use git2::Oid;

use self::file::{PackFile, Stored};
#[cfg(feature = "remotes")]
pub(crate) use self::incoming::Incoming;
use crate::tree::Id;
use zlib_rs::{Inflate, InflateFlush, Status};

/// What `git repack` makes at most by itself is 50; each is a call that waits for the next.
const DEEPEST: usize = 64;

/// Objects that others are differences to are kept, this many: neighbours have them in common.
const BASES: usize = 256;

/// The largest of those, in bytes.
const LARGEST_KEPT: usize = 64 << 10;

/// git makes chains of 4095 differences at most.
const LONGEST_CHAIN: usize = 4096;

/// The kinds of objects, as packs number them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit = 1,
    Tree = 2,
    Blob = 3,
    Tag = 4,
}

#[cfg(feature = "remotes")]
impl Kind {
    /// As what is hashed begins.
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// The ending of git's word for a pack that stays as it is.
const KEEP: &str = "keep";

/// Says that the pack of this index stays as it is.
///
/// # Errors
/// The disk is full or read-only.
pub(crate) fn keep(index: &Path) -> Result<()> {
    atomic::write(&index.with_extension(KEEP), b"", 0o444)
}

/// The indexes in the directory `objects` of a repository.
pub(crate) fn indexes(objects: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(objects.join("pack")).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|it| it == "idx"))
}

/// One pack on disk.
#[cfg(feature = "remotes")]
pub(crate) struct Pack {
    /// Where its index is; the pack is beside it.
    pub(crate) index: PathBuf,
    file: PackFile,
}

#[cfg(feature = "remotes")]
impl Pack {
    /// All in the directory `objects` of a repository.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn all(objects: &Path) -> Result<Vec<Self>> {
        let mut packs = Vec::new();
        for index in indexes(objects) {
            let reading = || format!("reading {}", index.display());
            let file = PackFile::open(&index).with_context(reading)?;
            let file = file.with_context(|| format!("{}: it is damaged or too new", reading()))?;
            packs.push(Self { index, file });
        }
        Ok(packs)
    }

    /// Whether it stays as it is.
    pub(crate) fn is_kept(&self) -> bool {
        self.index.with_extension(KEEP).exists()
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> u64 {
        self.file.length() as u64
    }

    /// How many objects it has.
    pub(crate) fn count(&self) -> usize {
        self.file.count()
    }

    /// Whether an object is in it.
    pub(crate) fn has(&self, id: Oid) -> bool {
        Id::try_from(id.as_bytes()).is_ok_and(|id| self.file.find(&id).is_some())
    }

    /// An object as it is in the pack, if that is not as a difference.
    pub(crate) fn whole(&self, id: Oid) -> Option<&[u8]> {
        let offset = self.file.find(&Id::try_from(id.as_bytes()).ok()?)?;
        match self.file.stored(offset)? {
            (Stored::Whole(_), ..) => self.file.entry(offset),
            _ => None,
        }
    }
}

/// What a pack of so many objects begins with.
#[cfg(feature = "remotes")]
pub(crate) fn start(count: u32) -> Vec<u8> {
    [file::PACK, &count.to_be_bytes()].concat()
}

/// The packs of a repository, read by one thread.
pub(crate) struct Packs {
    files: Arc<[PackFile]>,
    inflate: Inflate,
    /// Each at a place that its own place in the packs gives.
    bases: Vec<Option<Base>>,
    /// The difference that is looked at.
    delta: Vec<u8>,
}

struct Base {
    pack: usize,
    offset: usize,
    kind: Kind,
    content: Vec<u8>,
}

impl Packs {
    /// Those in the directory `objects` of a repository, as far as they can be read.
    pub(crate) fn open(objects: &Path) -> Self {
        let files = indexes(objects);
        let files = files.filter_map(|index| PackFile::open(&index).ok().flatten());
        Self::of(files.collect())
    }

    /// The same packs for another thread.
    pub(crate) fn again(&self) -> Self {
        Self::of(Arc::clone(&self.files))
    }

    fn of(files: Arc<[PackFile]>) -> Self {
        Self {
            files,
            inflate: Inflate::new(true, 15),
            bases: (0..BASES).map(|_| None).collect(),
            delta: Vec::new(),
        }
    }

    /// An object of `most` bytes or less.
    pub(crate) fn read(&mut self, id: &Id, most: usize) -> Option<(Kind, Vec<u8>)> {
        let files = Arc::clone(&self.files);
        let found = files.iter().enumerate();
        let mut found = found.filter_map(|(pack, file)| Some((pack, file.find(id)?)));
        let (pack, offset) = found.next()?;
        self.object(pack, offset, most, DEEPEST)
    }

    /// Whether an object is in one of the packs.
    pub(crate) fn has(&self, id: &Id) -> bool {
        self.files.iter().any(|file| file.find(id).is_some())
    }

    /// How many bytes an object has, if it is in one of the packs.
    pub(crate) fn size(&mut self, id: &Id) -> Option<usize> {
        let files = Arc::clone(&self.files);
        let mut found = files.iter().filter_map(|file| file.stored(file.find(id)?));
        match found.next()? {
            (Stored::Whole(_), size, _) => Some(size),
            (Stored::Delta(_), _, data) => Some(self.made_by(data)),
        }
    }

    /// The most bytes that libgit2, which asks nobody, unpacks at once to make an object of what it
    /// is a difference to, in whichever of the packs that have it; 0 if it is there as a whole.
    pub(crate) fn most_below(&mut self, id: &Id) -> usize {
        let files = Arc::clone(&self.files);
        let found = files.iter().filter_map(|file| Some((file, file.find(id)?)));
        let most = found.map(|(file, offset)| self.most_of_chain(file, offset));
        most.max().unwrap_or_default()
    }

    fn most_of_chain(&mut self, file: &PackFile, offset: usize) -> usize {
        let (mut most, mut offset) = (0, offset);
        for step in 0..LONGEST_CHAIN {
            // What is damaged libgit2 refuses, before it unpacks any of it.
            let Some((stored, size, data)) = file.stored(offset) else {
                return most;
            };
            let base = match stored {
                Stored::Whole(_) if step == 0 => return 0,
                Stored::Whole(_) => return most.max(size),
                Stored::Delta(base) => base,
            };
            // What comes of the first one is the object itself.
            let made = if step == 0 { 0 } else { self.made_by(data) };
            (most, offset) = (most.max(size).max(made), base);
        }
        usize::MAX
    }

    /// How many bytes the difference says that it makes; 0 if it is none.
    fn made_by(&mut self, data: &[u8]) -> usize {
        let mut start = [0; delta::SIZES];
        self.inflate.reset(true);
        let _ = self
            .inflate
            .decompress(data, &mut start, InflateFlush::NoFlush);
        delta::sizes(&start).map_or(0, |(_, made)| made)
    }

    /// The object at `offset`, at most `left` differences away from one that is there as a whole.
    fn object(
        &mut self,
        pack: usize,
        offset: usize,
        most: usize,
        left: usize,
    ) -> Option<(Kind, Vec<u8>)> {
        let files = Arc::clone(&self.files);
        let (stored, size, data) = files[pack].stored(offset)?;
        if size > most {
            return None;
        }
        let base = match stored {
            Stored::Whole(kind) => {
                let mut content = Vec::new();
                inflate(&mut self.inflate, data, size, &mut content)?;
                return Some((kind, content));
            }
            Stored::Delta(base) => self.base(pack, base, most, left.checked_sub(1)?)?,
        };
        inflate(&mut self.inflate, data, size, &mut self.delta)?;
        let content = delta::apply(&self.delta, &base.content, most);
        let kind = base.kind;
        self.keep(base);
        Some((kind, content?))
    }

    /// Takes an object that another is a difference to from those that are kept, or reads it.
    fn base(&mut self, pack: usize, offset: usize, most: usize, left: usize) -> Option<Base> {
        let place = &mut self.bases[place(offset)];
        if let Some(base) = place.take_if(|base| (base.pack, base.offset) == (pack, offset)) {
            return Some(base);
        }
        // A base may be longer than what is made of it.
        let most = most.max(LARGEST_KEPT);
        let (kind, content) = self.object(pack, offset, most, left)?;
        Some(Base {
            pack,
            offset,
            kind,
            content,
        })
    }

    fn keep(&mut self, base: Base) {
        if base.content.len() <= LARGEST_KEPT {
            let place = place(base.offset);
            self.bases[place] = Some(base);
        }
    }
}

/// Where an object at this offset is kept: neighbours far from each other.
fn place(offset: usize) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (offset as u64).wrapping_mul(GOLDEN) >> 32;
    mixed as usize % BASES
}

/// Replaces what is in `content` by the `size` bytes that `data` begins with, compressed.
fn inflate(inflate: &mut Inflate, data: &[u8], size: usize, content: &mut Vec<u8>) -> Option<()> {
    content.clear();
    content.resize(size, 0);
    inflate.reset(true);
    let status = inflate
        .decompress(data, content, InflateFlush::Finish)
        .ok()?;
    (status == Status::StreamEnd && inflate.total_out() == size as u64).then_some(())
}

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz {
    use super::{Incoming, Packs};
    use std::path::Path;

    /// How long each of these objects is that packs below `objects` have, if it has `most` bytes or
    /// less.
    pub fn read_packs(objects: &Path, ids: &[[u8; 20]], most: usize) -> Vec<Option<usize>> {
        let mut packs = Packs::open(objects);
        let read = |id: &[u8; 20]| {
            let _ = (packs.most_below(id), packs.size(id));
            Some(packs.read(id, most)?.1.len())
        };
        ids.iter().map(read).collect()
    }

    /// Reads a pack as one that is being received, in parts of this length; whether it is taken.
    pub fn scan(pack: &[u8], part: usize) -> bool {
        Incoming::takes(pack.chunks(part))
    }
}

#[cfg(test)]
mod tests;
