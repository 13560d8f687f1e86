// SPDX-License-Identifier: GPL-3.0-or-later
//! `media.toml`: which sticks and disks were written, and with what. It is read by operators and
//! never by hosts.

use crate::diagnostic::Diagnostic;
use crate::documents;
use crate::lock::{Lock, Sha256};
use crate::names::Name;
use crate::status::short;
use crate::table;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// The document's path in the repository.
pub const MEDIA: &str = "media.toml";

/// Who writes it, and what to do with it.
const HEADER: &str = "# Written by `domus iso write` and `domus config disk`; commit it.\n";

/// The media that were written, the last one last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Media {
    /// Each with what is on it.
    pub media: Vec<Medium>,
}

/// A medium: the receipt of its writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Medium {
    /// The day on which it was written, as `2026-11-21`.
    pub date: String,
    /// What its maker calls the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The disk's serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The version of the release on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The id of that release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Sha256>,
    /// The host whose configuration is on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
    /// The commit that this configuration is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// SHA-256 of all that was written, read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256>,
}

impl Media {
    /// Reads the document.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(content: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let mut notes = Vec::new();
        let media = documents::read_media(&MEDIA.into(), Ok(content), &mut notes);
        match media {
            Some(media) if notes.is_empty() => Ok(media),
            _ => Err(notes),
        }
    }

    /// Adds a medium. What the same disk held before is gone.
    pub fn remember(&mut self, medium: Medium) {
        if let Some(serial) = &medium.serial {
            let is_same =
                |it: &Medium| it.model == medium.model && it.serial.as_ref() == Some(serial);
            self.media.retain(|known| !is_same(known));
        }
        self.media.push(medium);
    }

    /// The document.
    pub fn render(&self) -> String {
        let mut text = format!("{HEADER}version = 1\n");
        for medium in &self.media {
            text.push_str("\n[[medium]]\n");
            for (key, value) in medium.settings() {
                // None of these forms has a quotation mark or a backslash.
                let _ = writeln!(text, "{key:<7} = \"{value}\"");
            }
        }
        text
    }

    /// A table of them, with what of it is no longer what the fleet means.
    pub fn list(&self, lock: &Lock) -> String {
        let header = [
            "written", "release", "host", "commit", "serial", "model", "",
        ];
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let row = |medium: &Medium| {
            vec![
                medium.date.clone(),
                or_none(medium.release.clone()),
                or_none(medium.host.as_ref().map(Name::to_string)),
                or_none(medium.commit.as_ref().map(|it| short(it).to_owned())),
                or_none(medium.serial.clone()),
                or_none(medium.model.clone()),
                medium.outdated(lock).unwrap_or_default().to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = self.media.iter().map(row).collect();
        table::table(&header, &rows)
    }
}

impl Medium {
    /// Its keys with their values, in the order in which they are written.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let digest = |digest: &Option<Sha256>| digest.as_ref().map(Sha256::to_string);
        let all = [
            ("date", Some(self.date.clone())),
            ("model", self.model.clone()),
            ("serial", self.serial.clone()),
            ("release", self.release.clone()),
            ("id", digest(&self.id)),
            ("host", self.host.as_ref().map(Name::to_string)),
            ("commit", self.commit.clone()),
            ("digest", digest(&self.digest)),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }

    /// What is to be said of its release, as the fleet now means it.
    pub fn outdated(&self, lock: &Lock) -> Option<&'static str> {
        let known = lock.releases.get(self.release.as_ref()?)?;
        (Some(known) != self.id.as_ref()).then_some("not the release that domus.lock has")
    }
}

/// What a medium that holds a host says of itself (JSON, on its EFI system partition): for whoever
/// finds it in a drawer. Nothing believes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Of this form: 1.
    pub version: u32,
    /// The fleet.
    pub fleet: Name,
    /// The host.
    pub host: Name,
    /// Version of the release.
    pub release: String,
    /// Id of the release.
    pub id: String,
    /// The commit that the host runs.
    pub commit: String,
    /// What says so: a target, or the commit itself.
    pub statement: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn medium(serial: &str, release: &str) -> Medium {
        Medium {
            date: "2026-11-22".into(),
            model: Some("Cruzer Blade".into()),
            serial: Some(serial.into()),
            release: Some(release.into()),
            id: Some(digest('a')),
            host: None,
            commit: None,
            digest: Some(digest('b')),
        }
    }

    fn digest(digit: char) -> Sha256 {
        Sha256::from_hex(&digit.to_string().repeat(64)).expect("a digest")
    }

    #[test]
    fn a_stick_that_is_written_again_is_there_once() {
        let mut media = Media::default();
        for (serial, release) in [("A", "1"), ("B", "1"), ("A", "2")] {
            media.remember(medium(serial, release));
        }
        let nameless = Medium {
            serial: None,
            ..medium("", "1")
        };
        media.remember(nameless.clone());
        media.remember(nameless);
        let known: Vec<_> = media.media.iter().map(|it| it.serial.as_deref()).collect();
        assert_eq!(known, [Some("B"), Some("A"), None, None]);
        assert_eq!(media.media[1].release.as_deref(), Some("2"));
        let mut lock = Lock::default();
        lock.releases.insert("1".into(), digest('c'));
        lock.releases.insert("2".into(), digest('a'));
        let lines: Vec<String> = media.list(&lock).lines().map(str::to_owned).collect();
        assert_eq!(
            lines[..3],
            [
                "written     release  host  commit  serial  model",
                "2026-11-22  1        -     -       B       Cruzer Blade  \
                 not the release that domus.lock has",
                "2026-11-22  2        -     -       A       Cruzer Blade",
            ]
        );
    }

    #[test]
    fn what_is_no_list_of_media_is_refused_with_its_place() {
        let wrong = [
            ("", "`version` is missing"),
            ("version = 1\nmedia = 1", "unknown key \"media\""),
            ("version = 1\n[[medium]]\n", "`date` is missing"),
            (
                "version = 1\n[[medium]]\ndate = \"22.11.2026\"",
                "\"22.11.2026\" is no day",
            ),
            (
                "version = 1\n[[medium]]\ndate = \"2026-11-22\"\ncommit = \"HEAD\"",
                "\"HEAD\" is no id of a commit",
            ),
            (
                "version = 1\n[[medium]]\ndate = \"2026-11-22\"\nserial = \"a\\u001b\"",
                "\"a\\u{1b}\" is no name of a disk",
            ),
        ];
        for (text, expected) in wrong {
            let notes = Media::read(text.as_bytes()).expect_err(text);
            let message = &notes[0].message;
            assert!(message.starts_with(expected), "{message}");
        }
    }

    proptest! {
        #[test]
        fn media_survive_writing(
            serials in prop::collection::vec("[!#-\\[\\]-~]{1,20}", 0..6),
            commit in prop::option::of("[0-9a-f]{40}"),
        ) {
            let mut media = Media::default();
            for serial in &serials {
                media.remember(Medium { commit: commit.clone(), ..medium(serial, "2026.11") });
            }
            prop_assert_eq!(Media::read(media.render().as_bytes()), Ok(media));
        }

        #[test]
        fn any_content_is_read_or_refused(content: Vec<u8>, text: String) {
            let _ = Media::read(&content);
            if let Ok(media) = Media::read(format!("version = 1\n{text}").as_bytes()) {
                prop_assert_eq!(Media::read(media.render().as_bytes()), Ok(media));
            }
        }
    }
}
