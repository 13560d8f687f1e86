// SPDX-License-Identifier: GPL-3.0-or-later
//! Where an ISO is read from: a file or device that begins with it, or a medium that has it in its
//! first slot.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use domus_model::slots::SLOT_A;

/// Where ECMA-119 has the first volume descriptor, and how it begins.
const DESCRIPTOR: (u64, &[u8]) = (0x8001, b"CD001");
/// Where UEFI has the header of a GPT, and how it begins.
const GPT: (u64, &[u8]) = (512, b"EFI PART");

/// An ISO in a file.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    /// Where it begins, in bytes.
    begin: u64,
}

impl Source {
    /// Opens that of `path`. Whether it is one turns out when it is read.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let has = |(place, magic): (u64, &[u8])| {
            let mut found = vec![0; magic.len()];
            file.read_exact_at(&mut found, place).is_ok() && found == magic
        };
        let begin = match has(GPT) && !has(DESCRIPTOR) {
            true => SLOT_A,
            false => 0,
        };
        let mut source = Self { file, begin };
        source.rewind()?;
        Ok(source)
    }

    /// Whether it is the first slot of a medium.
    pub(super) fn is_medium(&self) -> bool {
        self.begin > 0
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(place) => SeekFrom::Start(place + self.begin),
            other => other,
        };
        let place = self.file.seek(to)?;
        place
            .checked_sub(self.begin)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seeking to before the ISO"))
    }
}
