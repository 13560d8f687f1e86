// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing an image over a whole disk, and reading it back.
//!
//! The first MiB comes last, in one piece: until then there is no partition table and no volume
//! descriptor, so that nothing boots from a disk that was begun and not finished. The kernel's
//! cache is passed by (`O_DIRECT`): what is counted as written has been sent, and what is read
//! back comes from the disk.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
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
        let image = File::open(image).with_context(reading)?;
        let length = image.metadata().with_context(reading)?.len();
        ensure!(length > 0, "{}: it is empty", reading());
        self.write(&image, length, heard)
            .and_then(|()| self.compare(&image, length, heard))
            .with_context(|| {
                format!(
                    "{} is not usable now, nothing boots from it: write it again, or another",
                    self.path.display()
                )
            })
    }

    fn write(&self, image: &File, length: u64, heard: Heard<'_>) -> Result<()> {
        let mut buffer = Buffer::new();
        let head = MIB.min(self.size);
        self.put(buffer.zeros(head), 0)?;
        self.put(
            buffer.zeros(head),
            (self.size - head) / self.block * self.block,
        )?;
        self.sync()?;
        let mut done = 0;
        // The head is counted first and written last.
        for (position, bytes) in pieces(MIB, length).chain(pieces(0, length.min(MIB))) {
            self.ensure_wanted(done, length)?;
            let piece = buffer.read(image, position, bytes)?;
            self.put(piece.padded(self.block), position)?;
            done += bytes;
            heard(Phase::Write, done, length);
            if position + bytes == length {
                self.sync()?;
            }
        }
        self.sync()
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

    fn compare(&self, image: &File, length: u64, heard: Heard<'_>) -> Result<String> {
        let doing = || format!("reading {} back", self.path.display());
        let disk = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(&self.path)
            .with_context(doing)?;
        let (mut wanted, mut found) = (Buffer::new(), Buffer::new());
        let mut hash = Sha256::new();
        let mut done = 0;
        for (position, bytes) in pieces(0, length) {
            self.ensure_wanted(done, length)?;
            let wanted = wanted.read(image, position, bytes)?;
            let whole = bytes.next_multiple_of(self.block);
            let found = found.read(&disk, position, whole).with_context(doing)?;
            let found = &found.0[..wanted.0.len()];
            if let Some(at) = wanted.0.iter().zip(found).position(|(a, b)| a != b) {
                bail!(
                    "{}: byte {} is not what was written",
                    doing(),
                    position + at as u64
                );
            }
            hash.update(found);
            done += bytes;
            heard(Phase::Compare, done, length);
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
        let length = usize::try_from(length)?;
        let room = self.room();
        let (bytes, rest) = room.split_at_mut(length);
        file.read_exact_at(bytes, position)
            .with_context(|| format!("reading {length} bytes at {position}"))?;
        rest.fill(0);
        let room = &*room;
        Ok(Piece(&room[..length], room))
    }
}
