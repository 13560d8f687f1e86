// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus.lock`: what the names of images and releases stand for. One signature of a commit thus
//! covers configuration, images and release.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use crate::diagnostic::Diagnostic;
use crate::documents;
use crate::names::ImageRef;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::str::FromStr;

/// The document's path in the repository.
pub const LOCK: &str = "domus.lock";

/// Who writes it, and what to do with it.
const HEADER: &str = "# Written by `domus image build` and `domus iso build`; commit it.\n";

/// Digests by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Those of images: of `manifest.json`, which has those of their files.
    pub images: BTreeMap<ImageRef, Sha256>,
    /// Those of releases, by version: their ids.
    pub releases: BTreeMap<String, Sha256>,
}

impl Lock {
    /// Reads the document.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(content: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let mut notes = Vec::new();
        let doc = documents::read_lock(&LOCK.into(), Ok(content), &mut notes);
        match doc {
            Some(doc) if notes.is_empty() => Ok(doc.lock()),
            _ => Err(notes),
        }
    }

    /// The document, its entries in order.
    pub fn render(&self) -> String {
        let mut text = format!("{HEADER}version = 1\n");
        let images = self.images.iter();
        let images = images.map(|(image, digest)| (image.to_string(), digest));
        let releases = self.releases.iter();
        let releases = releases.map(|(version, digest)| (version.clone(), digest));
        table(&mut text, "images", images);
        table(&mut text, "releases", releases);
        text
    }
}

fn table<'l>(text: &mut String, name: &str, entries: impl Iterator<Item = (String, &'l Sha256)>) {
    let mut entries = entries.peekable();
    if entries.peek().is_some() {
        let _ = write!(text, "\n[{name}]\n");
    }
    for (name, digest) in entries {
        let _ = writeln!(text, "\"{name}\" = \"{digest}\"");
    }
}

/// A SHA-256, written `sha256:` and 64 hexadecimal digits, as OCI registries do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

/// What comes before its digits.
const ALGORITHM: &str = "sha256:";

impl Sha256 {
    /// One of 64 lower-case hexadecimal digits alone.
    ///
    /// # Errors
    /// They are something else.
    pub fn from_hex(digits: &str) -> Result<Self, BadValue> {
        format!("{ALGORITHM}{digits}").parse()
    }

    /// The 64 digits alone.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{ALGORITHM}{}", self.hex()))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let digits = text.strip_prefix(ALGORITHM).unwrap_or_default();
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.bytes().all(|byte| is_digit(&byte)) {
            let problem = format!("{} is no digest", quoted(text));
            let advice = "write sha256: and 64 of 0-9a-f; `domus image build` and `domus iso \
                          build` do that";
            return Err(BadValue::new(problem, advice));
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = &digits[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        Ok(Self(bytes))
    }
}

serde_as_string!(Sha256);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(byte: u8) -> Sha256 {
        Sha256([byte; 32])
    }

    #[test]
    fn entries_are_in_order() {
        let images = ["web@10", "web@9", "base@1"].map(|it| it.parse().expect("an image"));
        let lock = Lock {
            images: images.map(|image| (image, digest(0xab))).into(),
            releases: [("2026.11".to_owned(), digest(1))].into(),
        };
        let (ab, one) = ("ab".repeat(32), "01".repeat(32));
        let expected = format!(
            "{HEADER}version = 1\n\n[images]\n\"base@1\" = \"sha256:{ab}\"\n\
             \"web@9\" = \"sha256:{ab}\"\n\"web@10\" = \"sha256:{ab}\"\n\n\
             [releases]\n\"2026.11\" = \"sha256:{one}\"\n"
        );
        assert_eq!(lock.render(), expected);
        assert_eq!(Lock::default().render(), format!("{HEADER}version = 1\n"));
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_place() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let wrong = [
            ("", "`version` is missing"),
            ("version = 1\nimage = 1", "unknown key \"image\""),
            (
                &format!("version = 1\n[images]\nweb = \"{digest}\""),
                "\"web\" is no revision of an image",
            ),
            (
                "version = 1\n[images]\n\"web@1\" = \"sha256:12\"",
                "\"sha256:12\" is no digest",
            ),
            (
                "version = 1\n[images]\n\"web@1\" = 1",
                "`web@1` is an integer",
            ),
            ("version = 1\nimages = 1", "`images` is an integer"),
            (
                &format!("version = 1\n[releases]\n\"a/b\" = \"{digest}\""),
                "\"a/b\" is no version of a release",
            ),
        ];
        for (text, expected) in wrong {
            let notes = Lock::read(text.as_bytes()).expect_err(text);
            assert_eq!(notes.len(), 1, "{notes:?}");
            let message = &notes[0].message;
            assert!(message.starts_with(expected), "{message}");
        }
    }

    fn digests() -> impl Strategy<Value = Sha256> {
        any::<[u8; 32]>().prop_map(Sha256)
    }

    proptest! {
        #[test]
        fn a_lock_survives_writing(
            images in prop::collection::btree_map(("[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?", 1..99_u32), digests(), 0..9),
            releases in prop::collection::btree_map("[a-z0-9][A-Za-z0-9.+~-]{0,31}", digests(), 0..9),
        ) {
            let image = |((name, revision), digest): ((String, u32), Sha256)| {
                let name = name.parse().expect("a name");
                (ImageRef { name, revision }, digest)
            };
            let images = images.into_iter().map(image).collect();
            let lock = Lock { images, releases };
            prop_assert_eq!(Lock::read(lock.render().as_bytes()), Ok(lock));
        }

        #[test]
        fn any_content_is_read_or_refused(content: Vec<u8>, text: String) {
            let _ = Lock::read(&content);
            if let Ok(lock) = Lock::read(format!("version = 1\n{text}").as_bytes()) {
                prop_assert_eq!(Lock::read(lock.render().as_bytes()), Ok(lock));
            }
            if let Ok(digest) = text.parse::<Sha256>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
