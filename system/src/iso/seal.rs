// SPDX-License-Identifier: GPL-3.0-or-later
//! The seal: a digest of the whole ISO inside it, in the Application Use field of its primary
//! volume descriptor (ECMA-119, 8.4.32), computed with that field left blank. It covers what no
//! manifest can: boot code, partition tables, directories, the manifest itself.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::source::Source;

/// Where the field begins: descriptor in sector 16, byte 883 of it. In bytes.
pub(super) const FIELD: usize = 16 * 2048 + 883;
pub(super) const LENGTH: usize = 512;
const PREFIX: &str = "domus-seal sha256 ";

/// Seals the ISO at `path`.
///
/// # Errors
/// It cannot be read or written.
pub fn seal(path: &Path) -> Result<()> {
    let doing = || format!("sealing {}", path.display());
    let length = path.metadata().with_context(doing)?.len();
    let mut field = format!("{PREFIX}{} bytes {length}", digest(path, length)?).into_bytes();
    field.resize(LENGTH, b' ');
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .with_context(doing)?;
    file.seek(SeekFrom::Start(FIELD as u64))
        .with_context(doing)?;
    file.write_all(&field)
        .and_then(|()| file.sync_all())
        .with_context(doing)
}

/// Whether the ISO at `path` is as it was sealed. What follows it does not count: a stick is
/// longer than what was written to it.
///
/// # Errors
/// It cannot be read, or carries no seal.
pub fn holds(path: &Path) -> Result<bool> {
    let mut field = vec![0; LENGTH];
    let doing = || format!("reading the seal of {}", path.display());
    let mut file = Source::open(path).with_context(doing)?;
    file.seek(SeekFrom::Start(FIELD as u64))
        .with_context(doing)?;
    file.read_exact(&mut field).with_context(doing)?;
    match read(&field) {
        Some((hex, length)) => Ok(hex == digest(path, length)?),
        None => {
            bail!(
                "{} carries no seal: Domus did not make it, or it is damaged",
                path.display()
            )
        }
    }
}

/// The digest and the length that a field says, if it is one.
pub(super) fn read(field: &[u8]) -> Option<(String, u64)> {
    let text = String::from_utf8_lossy(field);
    let (hex, length) = text
        .trim_end()
        .strip_prefix(PREFIX)?
        .split_once(" bytes ")?;
    Some((hex.to_owned(), length.parse().ok()?))
}

/// SHA-256 of the first `length` bytes of the file (fewer, if it is shorter) with the field blank.
fn digest(path: &Path, length: u64) -> Result<String> {
    let doing = || format!("reading {}", path.display());
    let mut hash = Sha256::new();
    let mut position = 0_u64;
    let mut file = Source::open(path).with_context(doing)?.take(length);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).with_context(doing)?;
        if n == 0 {
            break;
        }
        let end = position + n as u64;
        let (from, to) = (
            (FIELD as u64).max(position),
            ((FIELD + LENGTH) as u64).min(end),
        );
        if from < to {
            let place = |at: u64| usize::try_from(at - position).unwrap_or(n);
            buffer[place(from)..place(to)].fill(b' ');
        }
        hash.update(&buffer[..n]);
        position = end;
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_byte_breaks_the_seal() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("iso");
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(&path, &bytes).expect("write");
        assert!(holds(&path).is_err(), "no seal yet");
        seal(&path).expect("seal");
        assert!(holds(&path).expect("holds"));
        let sealed = std::fs::read(&path).expect("read");
        std::fs::write(&path, [&sealed[..], b"the rest of a stick"].concat()).expect("write");
        assert!(holds(&path).expect("holds"));
        std::fs::write(&path, &sealed[..99_999]).expect("write");
        assert!(!holds(&path).expect("cut off"));
        for place in [0, 32768, 33_650, 33_660, 34_163, 99_999] {
            let mut bad = sealed.clone();
            bad[place] ^= 1;
            std::fs::write(&path, &bad).expect("write");
            assert!(!holds(&path).unwrap_or(false), "byte {place}");
        }
    }
}
