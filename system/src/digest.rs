// SPDX-License-Identifier: GPL-3.0-or-later
//! SHA-256 of bytes, readers and files, written as 64 lower-case hexadecimal digits.
//!
//! SHA-256 because `sha256sum` is on every rescue disk and OCI registries name blobs by it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A running SHA-256. Fields are length-prefixed, so that `("ab", "c")` and `("a", "bc")` differ.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds one length-prefixed field.
    pub fn field(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest so far.
    pub fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The digest of `bytes`.
pub fn of_bytes(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes.as_ref()))
}

/// The digest of everything that `reader` yields.
///
/// # Errors
/// The reader fails.
pub fn of_reader(reader: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// The digest of the file at `path`.
///
/// # Errors
/// It cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    File::open(path)
        .and_then(|mut file| of_reader(&mut file))
        .with_context(|| format!("reading {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(super::of_bytes(b""), empty);
        assert_eq!(
            super::of_reader(&mut std::io::empty()).expect("empty"),
            empty
        );
    }
}
