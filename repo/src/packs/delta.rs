// SPDX-License-Identifier: GPL-3.0-or-later
//! Differences: what to copy from another object, and what to put between.

/// What the difference makes of `base`, if it is one to it and that has `most` bytes or less.
pub(super) fn apply(delta: &[u8], base: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut delta = Bytes(delta);
    if delta.size()? != base.len() {
        return None;
    }
    let size = delta.size()?;
    if size > most {
        return None;
    }
    let mut made = Vec::with_capacity(size);
    while let Some(code) = delta.next() {
        let part = match code {
            0 => return None,
            1..0x80 => delta.take(code.into())?,
            _ => {
                let start = delta.number(code & 0x0f)?;
                let length = match delta.number(code >> 4 & 0x07)? {
                    0 => 0x1_0000,
                    length => length,
                };
                base.get(start..start + length)?
            }
        };
        // No byte more than was promised, so that nothing grows without end.
        if part.len() > size - made.len() {
            return None;
        }
        made.extend_from_slice(part);
    }
    (made.len() == size).then_some(made)
}

/// How many bytes a difference needs of its base, and makes of it. Its first [`SIZES`] bytes say so.
pub(super) fn sizes(delta: &[u8]) -> Option<(usize, usize)> {
    let mut delta = Bytes(delta);
    Some((delta.size()?, delta.size()?))
}

/// Most bytes that two sizes of 64 bits take.
pub(super) const SIZES: usize = 20;

/// Bytes that are read from the front.
pub(super) struct Bytes<'b>(pub(super) &'b [u8]);

impl<'b> Bytes<'b> {
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A size: seven bits in each byte, the lowest first, and whether there are more.
    fn size(&mut self) -> Option<usize> {
        self.more_of(0, 0)
    }

    /// A size of which `bits` bits are known.
    pub(super) fn more_of(&mut self, known: usize, bits: u32) -> Option<usize> {
        let (mut size, mut bits) = (known, bits);
        loop {
            let byte = self.next()?;
            // A size that does not fit is nothing's.
            let part = usize::from(byte & 0x7f);
            if bits > usize::BITS - 8 {
                return None;
            }
            size |= part << bits;
            bits += 7;
            if byte & 0x80 == 0 {
                return Some(size);
            }
        }
    }

    /// A number of which only those bytes are there that have a bit in `there`.
    fn number(&mut self, there: u8) -> Option<usize> {
        let mut number = 0;
        for byte in (0..4).filter(|byte| there & 1 << byte != 0) {
            number |= usize::from(self.next()?) << (8 * byte);
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: &[u8] = b"version = 1\nimage = \"web@7\"\n";

    #[test]
    fn parts_are_copied_and_put_between() {
        // 28 bytes make 15: 12 from the start, "new", and none at all.
        let delta = [28, 15, 0x90, 12, 3, b'n', b'e', b'w'];
        let made = b"version = 1\nnew".to_vec();
        assert_eq!(apply(&delta, BASE, 15), Some(made));
        assert_eq!(apply(&delta, BASE, 14), None);
        assert_eq!(apply(&delta, &BASE[1..], 15), None);
        // Behind the end of the base, the code that is none, and less than was promised.
        assert_eq!(apply(&[28, 2, 0x91, 27, 2], BASE, 99), None);
        assert_eq!(apply(&[28, 0, 0], BASE, 99), None);
        assert_eq!(apply(&[28, 2, 1, b'x'], BASE, 99), None);
    }

    proptest! {
        #[test]
        fn no_difference_makes_more_than_it_says(
            size in 0..40_u8,
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let delta = [&[28, size][..], &rest].concat();
            if let Some(made) = apply(&delta, BASE, 32) {
                prop_assert_eq!(made.len(), usize::from(size));
                prop_assert!(made.len() <= 32);
            }
            // Whatever it begins with.
            let _ = apply(&rest, BASE, 32);
        }
    }
}
