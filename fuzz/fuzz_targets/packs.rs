// SPDX-License-Identifier: GPL-3.0-or-later
//! Packs as an attacker writes them: nothing panics, nothing larger than was asked for is made,
//! and a pack that is being received is read alike in parts of any length.
//!
//! The first byte of the input says what follows. Even: entries, each `KIND SIZE-MOVED LENGTH CONTENT`,
//! one byte, one byte, two bytes; they are compressed here, so that the fuzzer gets into
//! differences and not only up to a checksum. Odd: an index and a pack, of half the bytes each.
#![no_main]

use std::fs;
use std::path::Path;

use domus_repo::fuzz::{read_packs, scan};
use libfuzzer_sys::fuzz_target;

/// Most bytes that are asked for.
const MOST: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let (index, pack, ids) = match mode & 1 {
        0 => built(data),
        _ => halves(data),
    };
    let parts = usize::from(mode >> 1) + 1;
    assert_eq!(scan(&pack, parts), scan(&pack, pack.len().max(1)));
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), &index, &pack);
    for content in read_packs(dir.path(), &ids, MOST).into_iter().flatten() {
        assert!(content <= MOST);
    }
});

fn write(objects: &Path, index: &[u8], pack: &[u8]) {
    let packs = objects.join("pack");
    fs::create_dir(&packs).expect("a directory");
    fs::write(packs.join("pack-0.idx"), index).expect("written");
    fs::write(packs.join("pack-0.pack"), pack).expect("written");
}

/// Index and pack as they are, behind what tells them from other files.
fn halves(data: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<[u8; 20]>) {
    let (index, pack) = data.split_at(data.len() / 2);
    let ids = index.as_chunks::<20>().0.iter().copied().take(16).collect();
    let index = [b"\xfftOc\0\0\0\x02", index].concat();
    (index, [b"PACK\0\0\0\x02", pack].concat(), ids)
}

/// A pack of these entries, and its index.
fn built(mut data: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<[u8; 20]>) {
    let (mut offsets, mut entries) = (Vec::new(), Vec::new());
    while let Some((head, rest)) = data.split_first_chunk::<4>() {
        let [kind, moved, length @ ..] = *head;
        let length = usize::from(u16::from_be_bytes(length)).min(rest.len());
        let (content, rest) = rest.split_at(length);
        data = rest;
        offsets.push(12 + entries.len() as u32);
        // Of a difference its content begins with what it is one to, which is not compressed.
        let (before, content) = match kind & 7 {
            6 => content.split_at(content.len().min(1)),
            7 => content.split_at(content.len().min(20)),
            _ => content.split_at(0),
        };
        let size = (content.len() + usize::from(moved)) as u64;
        entries.push((kind & 7) << 4 | 0x80 | (size & 15) as u8);
        entries.extend(number(size >> 4));
        entries.extend_from_slice(before);
        entries.extend(stored(content));
        if offsets.len() == 200 {
            break;
        }
    }
    let count = (offsets.len() as u32).to_be_bytes();
    let pack = [b"PACK\0\0\0\x02", &count[..], &entries, &[0; 20]].concat();
    let ids: Vec<[u8; 20]> = (0..offsets.len()).map(|number| [number as u8; 20]).collect();
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    for first in 0..256 {
        index.extend_from_slice(&(offsets.len().min(first + 1) as u32).to_be_bytes());
    }
    index.extend(ids.iter().flatten());
    index.extend(offsets.iter().flat_map(|_| [0; 4]));
    index.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
    (index, pack, ids)
}

/// Seven bits in each byte, the lowest first.
fn number(mut size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while size >= 0x80 {
        bytes.push(size as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
    bytes
}

/// What zlib calls stored: as it is, between a head and a checksum.
fn stored(content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16;
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let head = [&[0x78, 0x01, 0x01][..], &length.to_le_bytes(), &(!length).to_le_bytes()];
    [&head.concat(), content, &(b << 16 | a).to_be_bytes()].concat()
}
