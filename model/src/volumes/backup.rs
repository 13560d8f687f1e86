// SPDX-License-Identifier: GPL-3.0-or-later
//! The format in which a volume is kept elsewhere: a head of 4 KiB that says what it is, the volume
//! as it was, and in the end the digest of both, without which it is not whole. The volume begins at
//! a page, so that a copy in a file can be looked into: `mount -o ro,loop,offset=4096`.

use std::collections::BTreeMap;

use super::DiskOf;
use crate::names::Name;

/// How long a head is, in bytes.
pub const HEAD: usize = 4096;
/// How long an end is, in bytes.
pub const END: usize = 72;
/// What it begins with; the number is that of the format.
const MAGIC: &str = "domus volume 1";

/// What a copy is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The fleet.
    pub fleet: Name,
    /// The disk.
    pub of: DiskOf,
    /// The size of the volume in bytes.
    pub size: u64,
}

impl Head {
    /// Its bytes: lines of text, zeros behind them.
    pub fn bytes(&self) -> Vec<u8> {
        let Self { fleet, of, size } = self;
        let DiskOf { domu, disk } = of;
        let text = format!("{MAGIC}\nfleet {fleet}\ndomU {domu}\ndisk {disk}\nsize {size}\n");
        let mut bytes = text.into_bytes();
        bytes.resize(HEAD, 0);
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or of a format that is not known here.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let not_one =
            || "it is no copy of a volume that `domus-dom0 volume backup` made".to_owned();
        let end = bytes.iter().position(|byte| *byte == 0);
        let text = &bytes[..end.ok_or_else(not_one)?];
        let text = std::str::from_utf8(text).map_err(|_| not_one())?;
        let mut lines = text.lines();
        match lines.next() {
            Some(MAGIC) => {}
            Some(line) if line.starts_with("domus volume ") => {
                return Err(format!(
                    "it is of another format ({line:?}) than this release reads"
                ));
            }
            _ => return Err(not_one()),
        }
        let said: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
        let name = |key: &str| said.get(key).and_then(|name| name.parse::<Name>().ok());
        let head = || {
            Some(Self {
                fleet: name("fleet")?,
                of: DiskOf {
                    domu: name("domU")?,
                    disk: name("disk")?,
                },
                size: said.get("size")?.parse().ok()?,
            })
        };
        let head = head().filter(|head| head.bytes() == bytes);
        head.ok_or_else(|| "its head is damaged".to_owned())
    }
}

/// What a copy ends with: the digest (SHA-256) of head and volume.
pub fn end(sha256: &str) -> String {
    format!("sha256:{sha256}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            fleet: "example".parse().expect("a name"),
            of: "web/data".parse().expect("a disk"),
            size: 8 << 20,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = head().bytes();
        assert_eq!(bytes.len(), HEAD);
        assert_eq!(Head::read(&bytes), Ok(head()));
        assert_eq!(end(&"0".repeat(64)).len(), END);
        let longest = "x".repeat(63).parse::<Name>().expect("a name");
        let longest = Head {
            fleet: longest.clone(),
            of: DiskOf {
                domu: longest.clone(),
                disk: longest,
            },
            size: u64::MAX,
        };
        assert_eq!(Head::read(&longest.bytes()), Ok(longest));
    }

    #[test]
    fn whatever_is_not_just_that_is_refused() {
        let bytes = head().bytes();
        for at in 0..100 {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                // What is another head all the same is caught by the digest.
                if let Ok(read) = Head::read(&other) {
                    assert_eq!(read.bytes(), other);
                }
            }
        }
        for other in [&b""[..], &[0; HEAD], &[b'x'; HEAD], &bytes[..HEAD - 1]] {
            assert!(Head::read(other).is_err(), "{other:?}");
        }
        let newer = String::from_utf8(bytes)
            .expect("text")
            .replace("volume 1", "volume 2");
        let error = Head::read(newer.as_bytes()).expect_err("refused");
        assert!(error.contains("another format"), "{error}");
    }
}
