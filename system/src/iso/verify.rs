// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading an ISO back: every file of its manifest by digest, then the seal over all the rest.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_model::manifest::{FileEntry, MANIFEST, MENU, ReleaseManifest, publisher};
use iso9660::{DirectoryEntry, ISO9660, ISODirectory};

use super::seal;
use super::source::Source;
use crate::digest;

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
    wrong.extend(unlike_id(path, &manifest)?);
    let claimed = open(path)?.publisher_identifier().to_owned();
    if !claimed.is_empty() && claimed != publisher(manifest.payload.secure_boot.as_deref()) {
        wrong.push(format!(
            "it says that it is signed for {claimed}, and its manifest says otherwise"
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
///
/// # Errors
/// It has none that can be read.
pub fn manifest(path: &Path) -> Result<ReleaseManifest> {
    let doing = || format!("reading {MANIFEST} of {}", path.display());
    let iso = open(path)?;
    let file = find(iso.root.clone(), MANIFEST).with_context(doing)?;
    let bytes = content(&file).with_context(doing)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}: the file is damaged", doing()))
}

/// Size and digest of the file `name` on the ISO at `path`.
///
/// # Errors
/// There is no such file, or it cannot be read.
pub fn entry(path: &Path, name: &str) -> Result<FileEntry> {
    with_file(path, name, |content, size| {
        let sha256 = digest::of_reader(content).with_context(|| format!("reading {name}"))?;
        Ok(FileEntry { size, sha256 })
    })
}

/// Gives the content of the file `name` on the ISO at `path`, and how many bytes it has, to `work`.
///
/// # Errors
/// There is no such file; or `work` fails.
pub fn with_file<T>(
    path: &Path,
    name: &str,
    work: impl FnOnce(&mut dyn Read, u64) -> Result<T>,
) -> Result<T> {
    let file = find(open(path)?.root, name)?;
    let mut content = std::io::BufReader::with_capacity(1 << 20, file.read());
    work(&mut content, u64::from(file.size()))
}

/// What of the files does not follow from the release's id: only that is what somebody signed.
fn unlike_id(path: &Path, manifest: &ReleaseManifest) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, digest) in &manifest.payload.parts {
        let found = match manifest.files.get(name) {
            // Its menu names the id, and places on the ISO where it is signed for the firmware.
            Some(_) if name == MENU && manifest.payload.secure_boot.is_some() => continue,
            Some(_) if name == MENU => {
                let menu = content(&find(open(path)?.root, MENU)?).context("reading the menu")?;
                let menu = String::from_utf8_lossy(&menu).replace(&manifest.id, "");
                digest::of_bytes(menu.trim_end_matches('\n'))
            }
            Some(file) => file.sha256.clone(),
            // It is inside the signed image.
            None => continue,
        };
        if found != *digest {
            wrong.push(format!(
                "{name}: it is not what the release's id stands for"
            ));
        }
    }
    Ok(wrong)
}

fn content(file: &iso9660::ISOFile<Source>) -> Result<Vec<u8>> {
    ensure!(u64::from(file.size()) <= MANIFEST_LIMIT, "it is too large");
    let mut bytes = Vec::new();
    file.read().take(MANIFEST_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
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
