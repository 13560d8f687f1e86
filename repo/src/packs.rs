// SPDX-License-Identifier: GPL-3.0-or-later
//! Objects out of git's pack files, for who reads a million of them. It knows the usual and nothing
//! else: what is loose, elsewhere, too large or damaged is `None` here and libgit2's to read, or to
//! refuse in its words. Format: gitformat-pack(5).

mod delta;
mod file;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use self::file::{PackFile, Stored};
use crate::tree::Id;
use zlib_rs::{Inflate, InflateFlush, Status};

/// What `git repack` makes at most by itself is 50; each is a call that waits for the next.
const DEEPEST: usize = 64;

/// Objects that others are differences to are kept, this many: neighbours have them in common.
const BASES: usize = 256;

/// The largest of those, in bytes.
const LARGEST_BASE: usize = 64 << 10;

/// The kinds of objects, as packs number them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit = 1,
    Tree = 2,
    Blob = 3,
    Tag = 4,
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
        let entries = fs::read_dir(objects.join("pack")).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let packs = paths.filter(|path| path.extension().is_some_and(|it| it == "idx"));
        let files = packs.filter_map(|index| PackFile::open(&index).ok().flatten());
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
        let most = most.max(LARGEST_BASE);
        let (kind, content) = self.object(pack, offset, most, left)?;
        Some(Base {
            pack,
            offset,
            kind,
            content,
        })
    }

    fn keep(&mut self, base: Base) {
        if base.content.len() <= LARGEST_BASE {
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

#[cfg(test)]
mod tests;
