// SPDX-License-Identifier: GPL-3.0-or-later
//! What the first bytes of an ISO say of it, before all of it is there.

use crate::block::{self, Content};

use super::seal;

/// So many bytes from the beginning say it.
pub const HEAD: usize = 1 << 20;

/// An ISO that Domus made, as it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The id of its release.
    pub id: String,
    /// How many bytes it has.
    pub length: u64,
    /// Whom it names as its publisher, see [`domus_model::manifest::publisher`]; ISOs that were built
    /// before that name none.
    pub publisher: Option<String>,
}

/// Where the field of the publisher is, and its length, in bytes (ECMA-119, 8.4.20).
const PUBLISHER: (usize, usize) = (16 * 2048 + 318, 128);

impl Head {
    /// Reads it. Nothing of it is proved.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let Content::Iso9660(id, _) = block::identify(bytes, &[]) else {
            return None;
        };
        let (_, length) = seal::read(bytes.get(seal::FIELD..)?.get(..seal::LENGTH)?)?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (place, room) = PUBLISHER;
        let field = bytes.get(place..place + room)?;
        let publisher = String::from_utf8_lossy(field);
        let publisher = publisher.trim_matches([' ', '\0']);
        is_id.then(|| Self {
            id,
            length,
            publisher: Some(publisher.to_owned()).filter(|it| !it.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_sealed_has_one() {
        let mut bytes = vec![0; 0x9000];
        bytes[0x8001..0x8006].copy_from_slice(b"CD001");
        bytes[0x8000 + 190..0x8000 + 254].copy_from_slice(&[b'a'; 64]);
        assert_eq!(Head::read(&bytes), None);
        bytes[seal::FIELD..seal::FIELD + seal::LENGTH].fill(b' ');
        let seal = format!("domus-seal sha256 {} bytes 123", "0".repeat(64));
        bytes[seal::FIELD..seal::FIELD + seal.len()].copy_from_slice(seal.as_bytes());
        let head = Head::read(&bytes).expect("a head");
        assert_eq!(
            (head.id.as_str(), head.length),
            ("a".repeat(64).as_str(), 123)
        );
        assert_eq!(head.publisher, None);
        bytes[0x8000 + 318..0x8000 + 446].fill(b' ');
        assert_eq!(Head::read(&bytes).expect("a head").publisher, None);
        bytes[0x8000 + 318..0x8000 + 324].copy_from_slice(b"NOBODY");
        let head = Head::read(&bytes).expect("a head");
        assert_eq!(head.publisher.as_deref(), Some("NOBODY"));
        assert_eq!(Head::read(&bytes[..seal::FIELD]), None);
        assert_eq!(Head::read(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert_eq!(Head::read(&bytes), None);
        }
    }
}
