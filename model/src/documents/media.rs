// SPDX-License-Identifier: GPL-3.0-or-later
//! `media.toml`: what was written to which medium.

use super::forms::{DIGEST, Form, name};
use super::parse;
use super::place::At;
use super::table::{Layer, Table};
use super::words::{RELEASE_VERSION, word};
use crate::diagnostic::Diagnostic;
use crate::media::{Media, Medium};
use std::sync::Arc;

const DATE: Form<String> = Form {
    example: "2026-11-21",
    pattern: r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    parse: |text| {
        let bytes = text.as_bytes();
        let fits = bytes.len() == 10
            && bytes.iter().enumerate().all(|(index, byte)| match index {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        word(fits, text, "day", "write it as \"2026-11-21\"")
    },
};

const COMMIT: Form<String> = Form {
    example: "41be77a0c3d5e6f708192a3b4c5d6e7f80910a2b",
    pattern: r"^([0-9a-f]{40}|[0-9a-f]{64})$",
    parse: |text| {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let fits = matches!(text.len(), 40 | 64) && text.bytes().all(is_digit);
        word(fits, text, "id of a commit", "write all of its digits")
    },
};

/// What disks say of themselves.
const DISK: Form<String> = Form {
    example: "4C530001",
    pattern: r"^[!#-\[\]-~]([ !#-\[\]-~]*[!#-\[\]-~])?$",
    parse: |text| {
        let is_plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
        let fits =
            (1..=128).contains(&text.len()) && text.trim() == text && text.chars().all(is_plain);
        let advice = "use letters, digits and what is printed in ASCII, no \" and no \\";
        word(fits, text, "name of a disk", advice)
    },
};

/// The document as written.
#[derive(Debug)]
pub(super) struct MediaDoc(Vec<Option<Medium>>);

impl MediaDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        Self(document.tables("medium", "a medium that was written", medium))
    }
}

fn medium(table: &Table<'_>) -> Option<Medium> {
    fn plain<T>(at: Option<At<T>>) -> Option<T> {
        at.map(|at| at.value)
    }
    let date = table.require("date", "the day", &DATE);
    let model = table.read("model", "what its maker calls the disk", &DISK);
    let serial = table.read("serial", "the disk's serial number", &DISK);
    let release = table.read("release", "version of the release on it", &RELEASE_VERSION);
    let id = table.read("id", "id of that release", &DIGEST);
    let host = table.read("host", "whose configuration is on it", &name("alpha"));
    let commit = table.read("commit", "what this configuration is of", &COMMIT);
    let digest = table.read("digest", "SHA-256 of all that was written", &DIGEST);
    Some(Medium {
        date: date?.value,
        model: plain(model),
        serial: plain(serial),
        release: plain(release),
        id: plain(id),
        host: plain(host),
        commit: plain(commit),
        digest: plain(digest),
    })
}

/// Reads the document, and notes what cannot be read.
pub(crate) fn read(
    file: &Arc<str>,
    content: Result<&[u8], &str>,
    notes: &mut Vec<Diagnostic>,
) -> Option<Media> {
    let toml = parse::parse(file, content, notes)?;
    let own = Layer::of(file, &toml);
    let doc = parse::read(own, &[], notes, MediaDoc::read)?;
    let media = doc.0.into_iter().flatten().collect();
    Some(Media { media })
}
