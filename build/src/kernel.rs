// SPDX-License-Identifier: GPL-3.0-or-later
//! The kernel of a guest as Xen loads it: the ELF file inside a bzImage.
//!
//! Given a bzImage, Xen's tool stack decompresses it in dom0 at every start of a guest, which
//! takes longer than all the rest of the start, and memory. See
//! `docs/decisions/guest-kernel.md`.

use anyhow::{Context, Result, ensure};

use crate::toolroot::ToolRoot;

const ELF: &[u8] = b"\x7fELF";
/// Fields of the header of a bzImage: Linux, Documentation/arch/x86/boot.rst.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: std::ops::Range<usize> = 0x202..0x206;
const PROTOCOL: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// The first boot protocol that says where the payload is.
const PROTOCOL_2_08: u16 = 0x0208;

/// Whether `kernel` is one already.
pub fn is_elf(kernel: &[u8]) -> bool {
    kernel.starts_with(ELF)
}

/// The ELF file in `kernel`, which is a bzImage or an ELF file already.
///
/// # Errors
/// It is neither, or cannot be decompressed.
pub fn elf(tools: &ToolRoot, kernel: Vec<u8>) -> Result<Vec<u8>> {
    if is_elf(&kernel) {
        return Ok(kernel);
    }
    let (payload, size) = payload(&kernel)?;
    let output = tools.program("bsdcat")?.input(payload).output();
    let elf = output.context("decompressing the kernel")?.stdout;
    let have = elf.len();
    ensure!(
        have == size,
        "decompressing the kernel: {have} bytes came out, its last bytes say {size}"
    );
    ensure!(
        elf.starts_with(ELF),
        "decompressing the kernel: what is inside is no ELF file"
    );
    Ok(elf)
}

/// The compressed payload of a bzImage, and its size when decompressed.
fn payload(kernel: &[u8]) -> Result<(&[u8], usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(kernel.get(at..at + 4)?.try_into().ok()?));
    let find = || {
        if kernel.get(MAGIC)? != b"HdrS" {
            return None;
        }
        let protocol = kernel.get(PROTOCOL..PROTOCOL + 2)?;
        if u16::from_le_bytes(protocol.try_into().ok()?) < PROTOCOL_2_08 {
            return None;
        }
        let sectors = match kernel[SETUP_SECTORS] {
            0 => 4,
            some => usize::from(some),
        };
        let begin = (sectors + 1) * 512 + usize::try_from(word(PAYLOAD_OFFSET)?).ok()?;
        let length = usize::try_from(word(PAYLOAD_LENGTH)?).ok()?;
        // The build of Linux puts the uncompressed size behind the compressed data.
        let end = begin.checked_add(length)?.checked_sub(4)?;
        Some((kernel.get(begin..end)?, usize::try_from(word(end)?).ok()?))
    };
    find()
        .context("the kernel is neither a whole bzImage of protocol 2.08 or later nor an ELF file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bz_image(payload: &[u8], size: u32) -> Vec<u8> {
        let mut kernel = vec![0; 1024 + 0x100];
        kernel[SETUP_SECTORS] = 1;
        kernel[MAGIC].copy_from_slice(b"HdrS");
        kernel[PROTOCOL..PROTOCOL + 2].copy_from_slice(&PROTOCOL_2_08.to_le_bytes());
        let length = u32::try_from(payload.len() + 4).expect("length");
        kernel[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&0x100_u32.to_le_bytes());
        kernel[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        kernel.extend(payload);
        kernel.extend(size.to_le_bytes());
        kernel
    }

    #[test]
    fn the_payload_is_found() {
        let mut kernel = bz_image(b"compressed", 77);
        kernel.extend([0; 512]);
        assert_eq!(payload(&kernel).expect("payload"), (&b"compressed"[..], 77));
    }

    #[test]
    fn what_is_no_whole_bz_image_is_refused() {
        let whole = bz_image(b"compressed", 77);
        let mut old = whole.clone();
        old[PROTOCOL] = 7;
        let mut beyond = whole.clone();
        beyond[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut empty = whole.clone();
        empty[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&[0; 4]);
        let cut = whole[..whole.len() - 1].to_vec();
        for kernel in [old, beyond, cut, Vec::new(), vec![0; 4096]] {
            assert!(payload(&kernel).is_err());
        }
        let nothing = payload(&empty).map(|(payload, _)| payload.len());
        assert!(nothing.is_err(), "{nothing:?}");
    }
}
