// SPDX-License-Identifier: GPL-3.0-or-later
//! SHA-256 of bytes, readers and files, written as 64 lower-case hexadecimal digits; and what git
//! calls a content.
//!
//! SHA-256 because `sha256sum` is on every rescue disk and OCI registries name blobs by it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use domus_model::files::BlobId;
use sha1_smol::Sha1;
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

/// A running SHA-256 of bytes alone: that of all of them is what `sha256sum` says.
#[derive(Debug, Default)]
pub struct Sum(Sha256);

impl Sum {
    /// Adds what comes next.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all.
    pub fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The digest of `bytes`.
pub fn of_bytes(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes.as_ref()))
}

/// What git calls the content of `file`, read a little at a time.
///
/// # Errors
/// It cannot be read, or changes its length meanwhile.
pub fn blob_of_file(file: &mut File) -> io::Result<BlobId> {
    let length = file.metadata()?.len();
    let mut hash = blob_hash(length);
    let (mut buffer, mut read) = (vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut buffer)? {
            0 if read == length => return Ok(BlobId(hash.digest().bytes())),
            0 => return Err(io::Error::other("it changed while it was read")),
            n => {
                hash.update(&buffer[..n]);
                read += n as u64;
            }
        }
    }
}

/// What git calls this content.
pub fn blob_of_bytes(bytes: &[u8]) -> BlobId {
    let mut hash = blob_hash(bytes.len() as u64);
    hash.update(bytes);
    BlobId(hash.digest().bytes())
}

fn blob_hash(length: u64) -> Sha1 {
    let mut hash = Sha1::new();
    hash.update(format!("blob {length}\0").as_bytes());
    hash
}

/// The digest of everything that `reader` yields.
///
/// # Errors
/// The reader fails.
pub fn of_reader(reader: &mut (impl Read + ?Sized)) -> io::Result<String> {
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

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_git() {
        let id = super::blob_of_bytes(b"hello\n");
        assert_eq!(
            format!("{id:?}"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        let mut file = tempfile::tempfile().expect("file");
        std::io::Write::write_all(&mut file, b"hello\n").expect("write");
        std::io::Seek::rewind(&mut file).expect("rewind");
        assert_eq!(super::blob_of_file(&mut file).expect("read"), id);
    }

    #[test]
    fn agrees_with_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(super::of_bytes(b""), empty);
        assert_eq!(super::Sum::default().hex(), empty);
        let mut sum = super::Sum::default();
        sum.add(b"ab");
        sum.add(b"c");
        assert_eq!(sum.hex(), super::of_bytes(b"abc"));
        assert_eq!(
            super::of_reader(&mut std::io::empty()).expect("empty"),
            empty
        );
    }
}
