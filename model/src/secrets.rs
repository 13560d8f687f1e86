// SPDX-License-Identifier: GPL-3.0-or-later
//! Whom a secret is for, as its own first lines say: an age file (age-encryption.org/v1) names
//! each SSH key that opens it by a tag of four bytes.

mod needs;

pub use needs::{Needs, Secret, secrets};

use crate::bad_value::{BadValue, quoted, serde_as_string};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The public part of an Ed25519 SSH key, without its comment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SshKey([u8; 32]);

/// What the wire format of such a key begins with (RFC 4253, RFC 8709).
const WIRE: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

impl SshKey {
    /// The key as SSH sends it.
    pub fn wire(&self) -> Vec<u8> {
        [WIRE, &self.0].concat()
    }

    /// What OpenSSH calls it, `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.wire());
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
    }

    /// What age files call it.
    fn tag(&self) -> Tag {
        let digest = Sha256::digest(self.wire());
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// What distinguishes it in the name of a file: eight hexadecimal digits.
    pub fn short(&self) -> String {
        let [a, b, c, d] = self.tag();
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl FromStr for SshKey {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refuse = || {
            let problem = format!("{} is no Ed25519 SSH key", quoted(text));
            let advice = "write the public one, as \"ssh-ed25519 AAAA...\"";
            BadValue::new(problem, advice)
        };
        let mut words = text.split_ascii_whitespace();
        let (Some("ssh-ed25519"), Some(key)) = (words.next(), words.next()) else {
            return Err(refuse());
        };
        let wire = STANDARD.decode(key).map_err(|_| refuse())?;
        let key = wire.strip_prefix(WIRE).map(<[u8; 32]>::try_from);
        key.and_then(Result::ok).map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh-ed25519 {}", STANDARD.encode(self.wire()))
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_string!(SshKey);

/// Somebody for whom a file can be encrypted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipient {
    /// Whoever has this SSH key.
    Ssh(SshKey),
    /// Whoever has this key of age's own kind, `age1...`.
    Age(String),
}

impl FromStr for Recipient {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        // Bech32 (BIP 173); age itself checks its sum when it encrypts.
        let is_age = |text: &str| {
            let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            text.starts_with("age1") && text.len() == 62 && text.chars().all(known)
        };
        match text {
            _ if is_age(text) => Ok(Self::Age(text.to_owned())),
            _ if text.starts_with("age1") => {
                let problem = format!("{} is no age key", quoted(text));
                let advice = "write the public one, as age-keygen says it: age1 and 58 more";
                Err(BadValue::new(problem, advice))
            }
            _ => text.parse().map(Self::Ssh),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh(key) => key.fmt(f),
            Self::Age(key) => f.write_str(key),
        }
    }
}

serde_as_string!(Recipient);

type Tag = [u8; 4];

/// Whom an age file is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipients {
    tags: BTreeSet<Tag>,
    /// Those that the file does not tell apart: age's own keys, passphrases.
    others: usize,
}

/// The longest beginning of a file that is looked at, in bytes: some thousand recipients.
const LONGEST: usize = 1 << 20;

impl Recipients {
    /// Reads the beginning of an age file.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence that begins with the file.
    pub fn parse(file: &[u8]) -> Result<Self, &'static str> {
        if file.starts_with(b"-----BEGIN AGE") {
            return Err("is armoured, and only binary age files are read");
        }
        let file = &file[..file.len().min(LONGEST)];
        let mut lines = file.split(|byte| *byte == b'\n');
        if lines.next() != Some(b"age-encryption.org/v1") {
            return Err("is no age file");
        }
        let mut recipients = Self::default();
        for line in lines {
            if line.starts_with(b"---") {
                return Ok(recipients);
            }
            let Some(stanza) = line.strip_prefix(b"-> ") else {
                // The body of a stanza, or what is none; age itself will say.
                continue;
            };
            let stanza = std::str::from_utf8(stanza).unwrap_or_default();
            let tag = stanza.strip_prefix("ssh-ed25519 ").and_then(|rest| {
                let tag = rest.split(' ').next()?;
                Tag::try_from(STANDARD_NO_PAD.decode(tag).ok()?).ok()
            });
            // age puts in stanzas for nobody, so that readers learn to pass over them.
            let is_grease = stanza
                .split(' ')
                .next()
                .is_some_and(|kind| kind.ends_with("grease"));
            match tag {
                Some(tag) => drop(recipients.tags.insert(tag)),
                None if is_grease => {}
                None => recipients.others += 1,
            }
        }
        Err("is cut off, or has more recipients than are read")
    }

    /// Whether the owner of `key` can open the file.
    pub fn include(&self, key: &SshKey) -> bool {
        self.tags.contains(&key.tag())
    }

    /// Whether the file is for just these, as far as it says: of keys of age's own kind it only
    /// says how many.
    pub fn are<'k>(&self, wanted: impl IntoIterator<Item = &'k Recipient>) -> bool {
        let mut all = Self::default();
        for recipient in wanted {
            match recipient {
                Recipient::Ssh(key) => drop(all.tags.insert(key.tag())),
                Recipient::Age(_) => all.others += 1,
            }
        }
        *self == all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `ssh-keygen -t ed25519`.
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBy/04APQQ0EpxOCz1U7/yLtiAZLNS7dOx+PtgRZDYaw";

    #[test]
    fn keys_are_read_and_written() {
        let key: SshKey = format!("{KEY} root@alpha").parse().expect("a key");
        assert_eq!(key.to_string(), KEY);
        // As `ssh-keygen -l` says it.
        assert_eq!(
            key.fingerprint(),
            "SHA256:ColcGjKO6+hSKqXeE6ecVUQ4PRdOWtYHWt6yHg88Mq4"
        );
        assert_eq!(key.short(), "0a895c1a");
        let short = &KEY[..KEY.len() - 4];
        let wrong = [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-rsa AAAAB3NzaC1yc2E=",
            short,
        ];
        for text in wrong {
            assert!(text.parse::<SshKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn files_say_whom_they_are_for() {
        // As age writes it; its sums are not looked at here.
        let file = b"age-encryption.org/v1\n\
            -> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\n\
            EmECAEcKN+n/Vs9SbWiV+Hu0r+E8R77DdWYyd83nw7U\n\
            -> ssh-ed25519 xk8qkg Wv9vLKrEd0qMBmYAp7XtzmCfWcPtDfyEPY1b/Q\n\
            jvt2PK2aB5C8eYWUmCBMuUaJHUb4Xg8jC1p6mAX5w0A\n\
            -> |x7-grease 4 Bv\n\
            c2FsdA\n\
            --- Vn+54jqiiUCE+WZcEVY3f1sqHjlu/z1LCQ/T7Xm7qI0\n\0\xff";
        let recipients = Recipients::parse(file).expect("an age file");
        assert_eq!((recipients.tags.len(), recipients.others), (1, 1));
        assert!(!recipients.include(&KEY.parse().expect("a key")));
        let wrong: [&[u8]; 4] = [
            b"",
            b"x",
            b"age-encryption.org/v1\n-> X25519",
            b"-----BEGIN AGE ENC",
        ];
        for file in wrong {
            assert!(Recipients::parse(file).is_err());
        }
    }
}
