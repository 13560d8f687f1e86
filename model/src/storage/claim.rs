// SPDX-License-Identifier: GPL-3.0-or-later
//! What Domus writes on a disk before all else, between the partition table and the first partition:
//! whose it is, and whether it is still being prepared. It fits into one sector, so that a power cut
//! leaves the one or the other. While it says that the disk is being prepared nobody has kept
//! anything there, and whatever was made is made anew.

use crate::names::Name;
use std::fmt::Write;
use uuid::Uuid;

/// Where it stands, in bytes: GPTs end before 34 KiB, the first partition begins at 1 MiB.
pub const CLAIM_AT: u64 = 512 << 10;
/// How much is written there, in bytes: a whole sector of any disk, zeros behind the text.
pub const CLAIM_SIZE: usize = 4096;
/// The text fits into the smallest sector, in bytes.
const LONGEST: usize = 512;
/// What it begins with.
const MAGIC: &str = "domus storage 1";
/// Namespace of what proves that it is whole (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x1c7e_9a50_4b1d_4c0e_9f6a_2f5d_83b7_6e14);

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose the disk is: see [`super::set_of`].
    pub set: Uuid,
    /// For people: the fleet.
    pub fleet: Name,
    /// For people: the host.
    pub host: Name,
    /// What the disk was called when it was claimed.
    pub disk: String,
    /// Given to disks that were prepared together, and to those that joined them: no two that were
    /// prepared apart have the same. A mirror has it for its UUID.
    pub birth: Uuid,
    /// Whether it is a half of a mirror.
    pub mirror: bool,
    /// How far it is.
    pub state: ClaimState,
}

/// How far a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// Nothing on it is of any worth yet.
    Preparing,
    /// It may hold what its host keeps.
    Ready,
}

impl ClaimState {
    fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Ready => "ready",
        }
    }
}

impl Claim {
    /// What is written to the disk: [`CLAIM_SIZE`] bytes.
    pub fn render(&self) -> Vec<u8> {
        let mut bytes = self.text().into_bytes();
        bytes.resize(CLAIM_SIZE, 0);
        bytes
    }

    fn text(&self) -> String {
        let (fleet, host, disk) = (&self.fleet, &self.host, &self.disk);
        let form = if self.mirror { "mirror" } else { "single" };
        let mut text = format!(
            "{MAGIC}\nset {}\nfleet {fleet}\nhost {host}\ndisk {disk}\nbirth {}\nform {form}\n\
             state {}\n",
            self.set,
            self.birth,
            self.state.word()
        );
        let _ = writeln!(text, "sum {}", sum(&text));
        text
    }

    /// What was read at [`CLAIM_AT`]; `None` if that is no claim, or one that is not whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = bytes.split(|byte| *byte == 0).next()?;
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.lines();
        if text.len() > LONGEST || lines.next() != Some(MAGIC) {
            return None;
        }
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        let claim = Self {
            set: value("set")?.parse().ok()?,
            fleet: value("fleet")?.parse().ok()?,
            host: value("host")?.parse().ok()?,
            disk: value("disk")?.to_owned(),
            birth: value("birth")?.parse().ok()?,
            mirror: match value("form")? {
                "mirror" => true,
                "single" => false,
                _ => return None,
            },
            state: match value("state")? {
                "preparing" => ClaimState::Preparing,
                "ready" => ClaimState::Ready,
                _ => return None,
            },
        };
        // All of it: one that is cut off before its sum is none.
        (claim.text() == text).then_some(claim)
    }

    /// The seed of the UUIDs of its partition table; also the UUID of the partition that has what
    /// the host keeps.
    pub fn seed(&self) -> Uuid {
        Uuid::new_v5(&self.birth, self.disk.as_bytes())
    }

    /// The UUID of the partition before that one, if it has one: for `/config`.
    pub fn config(&self) -> Uuid {
        Uuid::new_v5(&self.seed(), b"config")
    }

    /// The UUID of the file system that is made there.
    pub fn config_file_system(&self) -> Uuid {
        Uuid::new_v5(&self.config(), b"file system")
    }
}

pub(super) fn sum(text: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(disk: String) -> Claim {
        Claim {
            set: Uuid::from_u128(1),
            fleet: "f".repeat(63).parse().expect("a name"),
            host: "h".repeat(63).parse().expect("a name"),
            disk,
            birth: Uuid::from_u128(2),
            mirror: true,
            state: ClaimState::Preparing,
        }
    }

    #[test]
    fn the_longest_fits_into_a_sector_and_is_read_back() {
        let longest = claim("x".repeat(128));
        let bytes = longest.render();
        assert_eq!(bytes.len(), CLAIM_SIZE);
        assert!(bytes[LONGEST..].iter().all(|byte| *byte == 0));
        assert_eq!(Claim::parse(&bytes), Some(longest));
    }

    #[test]
    fn what_is_not_whole_is_none() {
        let whole = claim("ata-A".to_owned()).render();
        let length = whole.iter().position(|byte| *byte == 0).expect("an end");
        for at in 0..length {
            let mut bytes = whole.clone();
            bytes[at..].fill(0);
            assert_eq!(Claim::parse(&bytes), None, "cut off at {at}");
            for bit in 0..8 {
                bytes.clone_from(&whole);
                bytes[at] ^= 1 << bit;
                assert_eq!(Claim::parse(&bytes), None, "bit {bit} of {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(Claim::parse(&bytes), None);
        }
    }
}
