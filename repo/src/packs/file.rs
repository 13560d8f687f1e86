// SPDX-License-Identifier: GPL-3.0-or-later
//! A pack and its index, as they are on disk.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

use super::Kind;
use super::delta::Bytes;
use crate::tree::Id;

/// What an index of version 2 begins with: magic and version.
const INDEX: &[u8] = b"\xfftOc\0\0\0\x02";

/// What a pack of version 2 begins with.
pub(super) const PACK: &[u8] = b"PACK\0\0\0\x02";

/// Where an index has the ids: behind its head and the counts for each first byte of an id.
const IDS: usize = 8 + 256 * 4;

/// Bytes of an id.
const ID: usize = size_of::<Id>();

/// Bytes that an index has for each object: its id, a checksum, an offset.
const ROW: usize = ID + 4 + 4;

/// A pack and its index.
pub(super) struct PackFile {
    index: Mmap,
    pack: Mmap,
    /// How many objects there are.
    count: usize,
}

/// How an object is stored.
#[derive(Clone, Copy)]
pub(super) enum Stored {
    Whole(Kind),
    /// As the difference to the one at this offset.
    Delta(usize),
}

/// How an object says that it is stored.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Whole(Kind),
    /// As the difference to the one so many bytes before it.
    Behind(usize),
    /// As the difference to the one that git calls so.
    Named(Id),
}

impl PackFile {
    /// Opens an index and its pack; `None` if they are of another version, or cut off.
    pub(super) fn open(index: &Path) -> io::Result<Option<Self>> {
        let pack = map(&File::open(index.with_extension("pack"))?)?;
        let index = map(&File::open(index)?)?;
        if !pack.starts_with(PACK) || !index.starts_with(INDEX) || index.len() < IDS {
            return Ok(None);
        }
        let mut file = Self {
            index,
            pack,
            count: 0,
        };
        file.count = file.number(IDS - 4).unwrap_or_default();
        let is_whole = file.index.len() >= IDS + file.count * ROW;
        Ok(is_whole.then_some(file))
    }

    /// Where an object is.
    pub(super) fn find(&self, id: &Id) -> Option<usize> {
        let first = usize::from(id[0]);
        let up_to = |byte: usize| self.number(8 + 4 * byte);
        let mut start = first.checked_sub(1).map_or(Some(0), up_to)?;
        let mut end = up_to(first)?.min(self.count);
        let ids = &self.index[IDS..][..self.count * ID];
        // Ids are as if thrown by dice: where one is can be guessed well from how large it is.
        let value = |id: &[u8]| u64::from_be_bytes([0, 0, 0, 0, id[1], id[2], id[3], id[4]]);
        let (mut low, mut high) = (0, 1 << 32);
        let wanted = value(id);
        while start < end {
            let share = (wanted.saturating_sub(low) * (end - start) as u64) / (high - low).max(1);
            let guess = (start + share as usize).min(end - 1);
            let found = &ids[guess * ID..][..ID];
            let known = value(found);
            match known.cmp(&wanted).then_with(|| found.cmp(id)) {
                Ordering::Equal => return self.offset(guess),
                Ordering::Less => (start, low) = (guess + 1, known),
                Ordering::Greater => (end, high) = (guess, known),
            }
        }
        None
    }

    /// Where the object is that has this place among the ids.
    fn offset(&self, place: usize) -> Option<usize> {
        const LARGE: usize = 1 << 31;
        let offsets = IDS + self.count * (ID + 4);
        let offset = self.number(offsets + 4 * place)?;
        if offset & LARGE == 0 {
            return Some(offset);
        }
        let large = IDS + self.count * ROW + 8 * (offset & !LARGE);
        let bytes = self.index.get(large..large + 8)?.first_chunk()?;
        usize::try_from(u64::from_be_bytes(*bytes)).ok()
    }

    /// How the object at `offset` is stored, how many bytes that has, and where they are, compressed.
    pub(super) fn stored(&self, offset: usize) -> Option<(Stored, usize, &[u8])> {
        let (form, size, data) = head(self.pack.get(offset..)?)?;
        let stored = match form {
            Form::Whole(kind) => Stored::Whole(kind),
            Form::Behind(distance) => Stored::Delta(offset.checked_sub(distance)?),
            Form::Named(id) => Stored::Delta(self.find(&id)?),
        };
        Some((stored, size, data))
    }

    /// How many objects the pack has.
    #[cfg(feature = "remotes")]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many bytes the pack has.
    #[cfg(feature = "remotes")]
    pub(super) fn length(&self) -> usize {
        self.pack.len()
    }

    /// The object at `offset` as it is there: up to the next one, or to the checksum.
    #[cfg(feature = "remotes")]
    pub(super) fn entry(&self, offset: usize) -> Option<&[u8]> {
        let offsets = (0..self.count).filter_map(|place| self.offset(place));
        let next = offsets.filter(|other| *other > offset).min();
        let end = self.pack.len().checked_sub(ID)?;
        self.pack.get(offset..next.unwrap_or(end))
    }

    fn number(&self, at: usize) -> Option<usize> {
        let bytes = self.index.get(at..at + 4)?.first_chunk()?;
        usize::try_from(u32::from_be_bytes(*bytes)).ok()
    }
}

/// What stands before an object in a pack: its form, how many bytes that has, and what follows.
pub(super) fn head(bytes: &[u8]) -> Option<(Form, usize, &[u8])> {
    let mut bytes = Bytes(bytes);
    let head = bytes.next()?;
    let known = usize::from(head & 0x0f);
    let size = match head & 0x80 {
        0 => known,
        _ => bytes.more_of(known, 4)?,
    };
    let form = match head >> 4 & 0x07 {
        1 => Form::Whole(Kind::Commit),
        2 => Form::Whole(Kind::Tree),
        3 => Form::Whole(Kind::Blob),
        4 => Form::Whole(Kind::Tag),
        6 => Form::Behind(distance(&mut bytes)?),
        7 => {
            let (id, rest) = bytes.0.split_first_chunk()?;
            bytes = Bytes(rest);
            Form::Named(*id)
        }
        _ => return None,
    };
    Some((form, size, bytes.0))
}

/// How far before an object the one is that it is a difference to: seven bits in each byte, the
/// highest first, and each but the last one more than it says.
fn distance(bytes: &mut Bytes<'_>) -> Option<usize> {
    let mut byte = bytes.next()?;
    let mut distance = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = bytes.next()?;
        distance = (distance + 1).checked_mul(128)? | usize::from(byte & 0x7f);
    }
    Some(distance)
}

#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: git writes packs and indexes once, under another name, and renames them; it removes
    // them, which leaves what is mapped, and never writes into them. libgit2 maps them, too. Who
    // writes into them all the same makes us read nonsense, and that is refused.
    unsafe { Mmap::map(file) }
}
