// SPDX-License-Identifier: GPL-3.0-or-later
//! Where on an ISO the signed image has what GRUB loads by BIOS, so that it is there once.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

/// Bytes of a sector, as GRUB counts.
const SECTOR: usize = 512;
/// Sectors that are looked at together.
const STRIDE: usize = 2048;

/// The content of the file `part` on the ISO `iso`, as GRUB writes a list of blocks: the first
/// sector and how many. What is behind its end in the last one belongs to it too, for GRUB.
///
/// # Errors
/// It is not there, from the beginning of a sector on and in one piece.
pub(crate) fn blocks(iso: &Path, part: &Path) -> Result<String> {
    let doing = || format!("looking for {} in {}", part.display(), iso.display());
    let content = fs::read(part).with_context(doing)?;
    let mut file = File::open(iso).with_context(doing)?;
    let first = find(&mut file, &content).with_context(doing)?;
    let first = first
        .ok_or_else(|| anyhow!("it is not there"))
        .with_context(doing)?;
    Ok(format!("{first}+{}", content.len().div_ceil(SECTOR)))
}

fn find(file: &mut File, content: &[u8]) -> Result<Option<u64>> {
    let Some(head) = content.first_chunk::<SECTOR>() else {
        return Ok(None);
    };
    let mut buffer = vec![0; STRIDE * SECTOR];
    let mut there = vec![0; content.len()];
    let mut first = 0;
    loop {
        let mut have = 0;
        while have < buffer.len() {
            match file.read(&mut buffer[have..])? {
                0 => break,
                n => have += n,
            }
        }
        for (sector, number) in buffer[..have].chunks(SECTOR).zip(first..) {
            if sector == head {
                let read = file.read_exact_at(&mut there, number * SECTOR as u64);
                if read.is_ok() && there == content {
                    return Ok(Some(number));
                }
            }
        }
        if have < buffer.len() {
            return Ok(None);
        }
        first += STRIDE as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_content_counts() {
        let dir = tempfile::tempdir().expect("dir");
        let (iso, part) = (dir.path().join("iso"), dir.path().join("part"));
        let content: Vec<u8> = (0..3_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        // The beginning alone, one that is shifted, and then all of it, far behind.
        let mut bytes = content[..1024].to_vec();
        bytes.resize(5_000, 0);
        bytes.extend(&content);
        bytes.resize((STRIDE + 9) * SECTOR, 0);
        bytes.extend(&content);
        fs::write(&part, &content).expect("write");
        fs::write(&iso, &bytes).expect("write");
        assert_eq!(blocks(&iso, &part).expect("found"), "2057+24");
        fs::write(&iso, &bytes[..bytes.len() - 1]).expect("write");
        assert!(blocks(&iso, &part).is_err());
    }
}
