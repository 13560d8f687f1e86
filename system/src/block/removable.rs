// SPDX-License-Identifier: GPL-3.0-or-later
//! The superblocks of what sticks and discs have: vfat and ISO 9660. Their ids are those that
//! `blkid` shows as UUID.

use super::{FileSystem, bytes, text};

/// The boot sector of a vfat: Microsoft, FAT32 File System Specification 1.03.
pub(super) fn vfat(head: &[u8]) -> FileSystem {
    let word = |offset: usize| u64::from(u16::from_le_bytes(bytes(head, offset)));
    let long = |offset: usize| u64::from(u32::from_le_bytes(bytes(head, offset)));
    let sectors = match word(19) {
        0 => long(32),
        few => few,
    };
    let is_fat32 = head.get(82..90) == Some(b"FAT32   ");
    let [a, b, c, d]: [u8; 4] = bytes(head, if is_fat32 { 67 } else { 39 });
    FileSystem {
        kind: "vfat",
        size: sectors.saturating_mul(word(11)),
        id: format!("{d:02X}{c:02X}-{b:02X}{a:02X}"),
        label: String::new(),
        journal: false,
        copy: None,
    }
}

/// The primary volume descriptor of an ISO 9660, which begins it (ECMA-119, 8.4); its volume set,
/// too.
pub(super) fn iso9660(descriptor: &[u8]) -> (String, FileSystem) {
    const MODIFIED: usize = 830;
    const CREATED: usize = 813;
    let blocks = u64::from(u32::from_le_bytes(bytes(descriptor, 80)));
    let block = u64::from(u16::from_le_bytes(bytes(descriptor, 128)));
    let dates = [MODIFIED, CREATED].map(|at| date(&bytes(descriptor, at)));
    let found = FileSystem {
        kind: "iso9660",
        size: blocks.saturating_mul(block),
        id: dates.into_iter().flatten().next().unwrap_or_default(),
        label: String::new(),
        journal: false,
        copy: None,
    };
    (text(&bytes::<128>(descriptor, 190)), found)
}

/// A date as `blkid` shows it; nothing if it is not set (8.4.26.1), or no digits.
fn date(digits: &[u8; 16]) -> Option<String> {
    if !digits.iter().all(u8::is_ascii_digit) || digits.iter().all(|digit| *digit == b'0') {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    let (year, rest) = digits.split_at_checked(4)?;
    let parts: Vec<&str> = (0..6).filter_map(|n| rest.get(2 * n..2 * n + 2)).collect();
    Some(format!("{year}-{}", parts.join("-")))
}

#[cfg(test)]
mod tests {
    use super::super::{Content, identify};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vfat_is_called_as_blkid_calls_it() {
        let mut head = vec![0; 512];
        head[11..13].copy_from_slice(&512_u16.to_le_bytes());
        head[19..21].copy_from_slice(&2048_u16.to_le_bytes());
        head[39..43].copy_from_slice(&[0xcd, 0xab, 0x34, 0x12]);
        head[54..62].copy_from_slice(b"FAT16   ");
        let Content::FileSystem(found) = identify(&head, &[]) else {
            panic!("a vfat");
        };
        assert_eq!(
            (found.kind, found.size, found.id.as_str()),
            ("vfat", 1 << 20, "1234-ABCD")
        );
        assert!(found.is_of_seeds() && found.without_replay().is_none());
        head[19..21].fill(0);
        head[32..36].copy_from_slice(&0x20_0000_u32.to_le_bytes());
        head[67..71].copy_from_slice(&[4, 3, 2, 1]);
        head[82..90].copy_from_slice(b"FAT32   ");
        let found = vfat(&head);
        assert_eq!((found.size, found.id.as_str()), (1 << 30, "0102-0304"));
    }

    #[test]
    fn an_iso_is_called_by_its_date() {
        let mut head = vec![0; 0x9000];
        head[0x8001..0x8006].copy_from_slice(b"CD001");
        head[0x8000 + 80..0x8000 + 84].copy_from_slice(&10_u32.to_le_bytes());
        head[0x8000 + 128..0x8000 + 130].copy_from_slice(&2048_u16.to_le_bytes());
        head[0x8000 + 190..0x8000 + 196].copy_from_slice(b"abc   ");
        let seen = |head: &[u8]| {
            let Content::Iso9660(set, found) = identify(head, &[]) else {
                panic!("an ISO");
            };
            (set, found.size, found.id)
        };
        let (set, size, id) = seen(&head);
        assert_eq!((set.as_str(), size, id.as_str()), ("abc", 20480, ""));
        head[0x8000 + 813..0x8000 + 829].copy_from_slice(b"2026112912000000");
        head[0x8000 + 830..0x8000 + 846].fill(b'0');
        assert_eq!(seen(&head).2, "2026-11-29-12-00-00-00");
        head[0x8000 + 830..0x8000 + 846].copy_from_slice(b"1999010203040506");
        assert_eq!(seen(&head).2, "1999-01-02-03-04-05-06");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
            vfat(&bytes);
            iso9660(&bytes);
        }
    }
}
