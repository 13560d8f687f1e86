// SPDX-License-Identifier: GPL-3.0-or-later
//! Copying what a volume holds.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use anyhow::{Context as _, Result, ensure};
use domus_system::digest::Sum;
use domus_system::interrupt;

/// So much is copied at a time, in bytes.
const BLOCK: usize = 1 << 20;

/// Copies `size` bytes, and adds them to `sum`. `from` and `to` are what both are called.
///
/// # Errors
/// There are not so many, they cannot be written, or somebody pressed Ctrl-C.
pub(super) fn pour(
    (from, reader): (&str, &mut impl Read),
    (to, writer): (&str, &mut impl Write),
    size: u64,
    sum: &mut Sum,
) -> Result<()> {
    let mut block = vec![0; BLOCK];
    let mut left = size;
    while left > 0 {
        interrupt::check()?;
        let length = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        let part = &mut block[..length];
        let read = fill(reader, part).with_context(|| format!("reading {from}"))?;
        ensure!(
            read == length,
            "reading {from}: it ends {} bytes too early",
            left - read as u64
        );
        sum.add(part);
        writer
            .write_all(part)
            .with_context(|| format!("writing {to}"))?;
        left -= length as u64;
    }
    Ok(())
}

/// Reads until `block` is full or there is no more; how much there was.
pub(super) fn fill(reader: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < block.len() {
        match reader.read(&mut block[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// A new file in which blocks of zeros take no room.
pub(super) struct Sparse<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> Sparse<'f> {
    /// Writes to `file`, which is empty.
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, at: 0 }
    }

    /// Gives it its whole length.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.set_len(self.at)
    }
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(bytes, self.at)?;
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_copied_is_the_same_and_zeros_take_no_room() {
        let mut content = vec![0; 8 << 20];
        content[3 << 20..][..5].copy_from_slice(b"data\n");
        let file = tempfile::tempfile().expect("file");
        let mut sparse = Sparse::new(&file);
        let mut sum = Sum::default();
        let size = content.len() as u64;
        pour(("a", &mut &content[..]), ("b", &mut sparse), size, &mut sum).expect("copied");
        sparse.finish().expect("done");
        let mut copied = vec![0; content.len()];
        file.read_exact_at(&mut copied, 0).expect("read");
        assert!(copied == content);
        let meta = file.metadata().expect("stat");
        assert_eq!(meta.len(), size);
        assert!(meta.blocks() * 512 <= 2 << 20, "{}", meta.blocks());
        assert_eq!(sum.hex(), domus_system::digest::of_bytes(&content));
    }

    #[test]
    fn what_is_too_short_is_an_error() {
        let error = pour(
            ("the copy", &mut &b"abc"[..]),
            ("b", &mut io::sink()),
            5,
            &mut Sum::default(),
        );
        let error = error.expect_err("short").to_string();
        assert_eq!(error, "reading the copy: it ends 2 bytes too early");
    }
}
