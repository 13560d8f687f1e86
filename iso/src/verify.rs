// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading an ISO back: every file of its manifest by digest, then the seal over all the rest.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_model::manifest::{FileEntry, ReleaseManifest};
use domus_system::digest;
use iso9660::{DirectoryEntry, ISO9660, ISODirectory};

use crate::source::Source;
use crate::{MANIFEST, seal};

/// A manifest is far smaller than this, in bytes.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// What a verification found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The manifest that everything agrees with.
    pub manifest: ReleaseManifest,
    /// Whether it stands on a medium with the configuration of a host.
    pub is_medium: bool,
}

/// Reads the whole ISO at `path`, or that of a medium, and compares it with its manifest and its seal.
///
/// # Errors
/// Names every file that differs; or the ISO cannot be read.
pub fn verify(path: &Path) -> Result<Verified> {
    let manifest = manifest(path)?;
    let mut wrong = Vec::new();
    for (name, expected) in &manifest.files {
        match entry(path, name) {
            Ok(found) if found == *expected => {}
            Ok(found) => wrong.push(format!(
                "{name}: SHA-256 is {}, the manifest says {}",
                found.sha256, expected.sha256
            )),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    let payload = digest::of_bytes(serde_json::to_vec(&manifest.payload)?);
    if payload != manifest.id {
        wrong.push(format!(
            "{MANIFEST}: its id does not follow from its content"
        ));
    }
    if wrong.is_empty() && !seal::holds(path)? {
        wrong.push(format!(
            "every file listed in {MANIFEST} is whole; what differs is {MANIFEST} itself or the \
             boot structures around the files (partition tables, boot sector, directories)"
        ));
    }
    if wrong.is_empty() {
        let is_medium = Source::open(path)?.is_medium();
        return Ok(Verified {
            manifest,
            is_medium,
        });
    }
    bail!(
        "{} is damaged:\n  {}\nDo not boot it. Build it again, or copy it again from where it is \
         whole.",
        path.display(),
        wrong.join("\n  ")
    )
}

/// The manifest of the ISO at `path`.
pub(crate) fn manifest(path: &Path) -> Result<ReleaseManifest> {
    let doing = || format!("reading {MANIFEST} of {}", path.display());
    let iso = open(path)?;
    let file = find(iso.root.clone(), MANIFEST).with_context(doing)?;
    ensure!(
        u64::from(file.size()) <= MANIFEST_LIMIT,
        "{}: it is too large",
        doing()
    );
    let mut bytes = Vec::new();
    file.read()
        .take(MANIFEST_LIMIT)
        .read_to_end(&mut bytes)
        .with_context(doing)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}: the file is damaged", doing()))
}

/// Size and digest of the file `name` on the ISO at `path`.
pub(crate) fn entry(path: &Path, name: &str) -> Result<FileEntry> {
    let iso = open(path)?;
    let file = find(iso.root.clone(), name)?;
    let sha256 = digest::of_reader(&mut std::io::BufReader::with_capacity(1 << 20, file.read()))
        .with_context(|| format!("reading {name}"))?;
    Ok(FileEntry {
        size: u64::from(file.size()),
        sha256,
    })
}

fn open(path: &Path) -> Result<ISO9660<Source>> {
    let doing = || format!("reading {}", path.display());
    let file = Source::open(path).with_context(doing)?;
    ISO9660::new(file)
        .map_err(|error| anyhow!("it is no ISO 9660 image: {error}"))
        .with_context(doing)
}

fn find(root: ISODirectory<Source>, name: &str) -> Result<iso9660::ISOFile<Source>> {
    let mut directory = root;
    let (directories, file) = name.rsplit_once('/').unwrap_or(("", name));
    for part in directories.split('/').filter(|part| !part.is_empty()) {
        match directory.find(part).map_err(|error| anyhow!("{error}"))? {
            Some(DirectoryEntry::Directory(found)) => directory = found,
            _ => bail!("the ISO has no directory {part}"),
        }
    }
    match directory.find(file).map_err(|error| anyhow!("{error}"))? {
        Some(DirectoryEntry::File(found)) => Ok(found),
        _ => bail!("the ISO has no file {name}"),
    }
}
