// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing an image over a whole disk, and reading it back.
//!
//! The first MiB comes last, in one piece: until then there is no partition table and no volume
//! descriptor, so that nothing boots from a disk that was begun and not finished. The kernel's
//! cache is passed by (`O_DIRECT`): what is counted as written has been sent, and what is read
//! back comes from the disk.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{OFlags, ioctl_blksszget};
use sha2::{Digest, Sha256};

use crate::{digest, interrupt};

const MIB: u64 = 1 << 20;
/// What is written and read at once, in bytes.
const PIECE: usize = 4 << 20;
/// What buffers for `O_DIRECT` are aligned to: as large as any block of a disk.
const ALIGNMENT: usize = 4096;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Writing.
    Write,
    /// Reading back.
    Compare,
}

/// Is told how many bytes of how many are done.
pub type Heard<'a> = &'a mut dyn FnMut(Phase, u64, u64);

/// A disk that nobody else uses as long as this lives.
#[derive(Debug)]
pub struct Target {
    file: File,
    path: PathBuf,
    size: u64,
    block: u64,
}

impl Target {
    /// Takes the disk at `path` for itself; none if somebody else has it.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let doing = || format!("opening {}", path.display());
        let flags = (OFlags::EXCL | OFlags::DIRECT).bits();
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(flags.cast_signed())
            .open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::ResourceBusy => return Ok(None),
            Err(error) => return Err(error).with_context(doing),
        };
        let size = file.seek(SeekFrom::End(0)).with_context(doing)?;
        let block = u64::from(ioctl_blksszget(&file).with_context(doing)?);
        Ok(Some(Self {
            file,
            path: path.to_owned(),
            size,
            block,
        }))
    }

    /// Writes `image` over it, reads it back, and returns the SHA-256 of what is on it. What the
    /// disk had at its very end goes as well: there are superblocks that stand there.
    ///
    /// # Errors
    /// The disk does not take all of it, vanishes, or gives back something else; Domus is
    /// interrupted. The disk is of no use then, and the error says so.
    pub fn burn(&self, image: &Path, heard: Heard<'_>) -> Result<String> {
        let reading = || format!("reading {}", image.display());
        let mut image = File::open(image).with_context(reading)?;
        let length = image.metadata().with_context(reading)?.len();
        ensure!(length > 0, "{}: it is empty", reading());
        self.take(&mut image, length, heard)
    }

    /// As [`Target::burn`], of `length` bytes that `from` gives once.
    ///
    /// # Errors
    /// As [`Target::burn`]; or `from` fails, or ends too early.
    pub fn take(&self, from: &mut dyn Read, length: u64, heard: Heard<'_>) -> Result<String> {
        self.write(from, length, heard)
            .and_then(|written| self.compare(&written, length, heard))
            .with_context(|| {
                format!(
                    "{} is not usable now, nothing boots from it: write it again, or another",
                    self.path.display()
                )
            })
    }

    /// The size of the disk, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes it, and returns the digest of each piece.
    fn write(&self, from: &mut dyn Read, length: u64, heard: Heard<'_>) -> Result<Vec<Digested>> {
        let (mut buffer, mut first) = (Buffer::new(), Buffer::new());
        let head = MIB.min(self.size);
        self.put(buffer.zeros(head), 0)?;
        self.put(
            buffer.zeros(head),
            (self.size - head) / self.block * self.block,
        )?;
        self.sync()?;
        let mut digests = Vec::new();
        // The head comes first and is written last.
        let head = first.fill(from, length.min(MIB))?;
        digests.push(digest(head.0));
        for (position, bytes) in pieces(MIB, length) {
            self.ensure_wanted(position, length)?;
            let piece = buffer.fill(from, bytes)?;
            digests.push(digest(piece.0));
            self.put(piece.padded(self.block), position)?;
            heard(Phase::Write, position + bytes - head.0.len() as u64, length);
        }
        self.sync()?;
        self.put(head.padded(self.block), 0)?;
        self.sync()?;
        heard(Phase::Write, length, length);
        Ok(digests)
    }

    fn put(&self, bytes: &[u8], position: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, position)
            .with_context(|| format!("writing to {} at byte {position}", self.path.display()))
    }

    fn sync(&self) -> Result<()> {
        let doing = || format!("waiting until {} has all of it", self.path.display());
        self.file.sync_all().with_context(doing)
    }

    fn compare(&self, written: &[Digested], length: u64, heard: Heard<'_>) -> Result<String> {
        let doing = || format!("reading {} back", self.path.display());
        let disk = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(&self.path)
            .with_context(doing)?;
        let mut buffer = Buffer::new();
        let mut hash = Sha256::new();
        let all = pieces(0, length.min(MIB)).chain(pieces(MIB, length));
        for ((position, bytes), written) in all.zip(written) {
            self.ensure_wanted(position, length)?;
            let whole = bytes.next_multiple_of(self.block);
            let found = buffer.read(&disk, position, whole).with_context(doing)?;
            let found = &found.0[..usize::try_from(bytes)?];
            ensure!(
                digest(found) == *written,
                "{}: what is between bytes {position} and {} is not what was written",
                doing(),
                position + bytes
            );
            hash.update(found);
            heard(Phase::Compare, position + bytes, length);
        }
        Ok(digest::hex(&hash.finalize()))
    }

    fn ensure_wanted(&self, done: u64, length: u64) -> Result<()> {
        ensure!(
            !interrupt::caught(),
            "interrupted after {} of {} MiB",
            done / MIB,
            length / MIB
        );
        Ok(())
    }
}

/// SHA-256 of a piece.
type Digested = [u8; 32];

fn digest(bytes: &[u8]) -> Digested {
    Sha256::digest(bytes).into()
}

/// Places and lengths of the pieces between two places.
fn pieces(from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
    let starts = (from..to).step_by(PIECE);
    starts.map(move |start| (start, (to - start).min(PIECE as u64)))
}

/// Memory that `O_DIRECT` takes.
struct Buffer {
    memory: Vec<u8>,
    begin: usize,
}

/// Bytes in a buffer, and the room behind them.
struct Piece<'b>(&'b [u8], &'b [u8]);

impl Piece<'_> {
    /// The bytes with zeros behind them up to a whole number of blocks.
    fn padded(&self, block: u64) -> &[u8] {
        let block = usize::try_from(block).unwrap_or(ALIGNMENT);
        &self.1[..self.0.len().next_multiple_of(block)]
    }
}

impl Buffer {
    fn new() -> Self {
        let memory = vec![0; PIECE + 2 * ALIGNMENT];
        let begin = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, begin }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..self.begin + PIECE + ALIGNMENT]
    }

    fn zeros(&mut self, length: u64) -> &[u8] {
        let length = usize::try_from(length).unwrap_or(PIECE);
        let room = &mut self.room()[..length];
        room.fill(0);
        room
    }

    fn read(&mut self, file: &File, position: u64, length: u64) -> Result<Piece<'_>> {
        let read = |bytes: &mut [u8]| file.read_exact_at(bytes, position);
        self.with(length, read)
            .with_context(|| format!("reading {length} bytes at {position}"))
    }

    fn fill(&mut self, from: &mut dyn Read, length: u64) -> Result<Piece<'_>> {
        self.with(length, |bytes| from.read_exact(bytes))
            .with_context(|| format!("reading {length} bytes of what is written"))
    }

    fn with(
        &mut self,
        length: u64,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<Piece<'_>> {
        let length = usize::try_from(length)?;
        let room = self.room();
        let (bytes, rest) = room.split_at_mut(length);
        read(bytes)?;
        rest.fill(0);
        let room = &*room;
        Ok(Piece(&room[..length], room))
    }
}
