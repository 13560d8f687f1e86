// SPDX-License-Identifier: GPL-3.0-or-later
//! The config disk of a domU: a tar archive with its document, `global/` and `vservers/NAME/` of
//! the running commit, and the secrets of its layers in clear: RAM is all that it is ever in. The same commit gives the
//! same bytes. A domU with a foreign image has a NoCloud seed in its place.

use std::fs::{self, Metadata};
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use domus_model::cloud;
use domus_model::etc::domu_uuid;
use domus_model::fleet::DomU;
use domus_model::guest::{GUEST_DOCUMENT, GuestConfig, SECRETS};
use domus_model::layers::{Body, File};
use domus_system::atomic::Pending;
use domus_system::secret::{self, Key};
use domus_system::vfat;
use tar::{Builder, EntryType, Header};

use crate::context::Context;
use crate::warn;

const FILE: &str = "config.tar";
/// The size of the disk is a multiple of that. It is a hole but for the archive, so that it costs nothing
/// and another archive fits into the disk that a guest has.
const SIZE: u64 = 16 << 20;

/// Writes the config disk of `domu` to RAM and returns where it is.
///
/// # Errors
/// Something of the commit cannot be read, or RAM is full.
pub(crate) fn write(context: &Context, domu: &DomU) -> Result<PathBuf> {
    let guest = GuestConfig::new(&context.fleet, domu, &context.commit);
    let archive = match domu.foreign {
        true => seed(context, domu, &guest),
        false => archive(&context.slice, &guest, &secrets(context, domu)),
    };
    let archive = archive.with_context(|| format!("making the config disk of {}", domu.name))?;
    let path = context.paths.domu(&domu.name).join(FILE);
    let mut pending = Pending::new(&path)?;
    let doing = || format!("writing {}", path.display());
    pending.file().write_all(&archive).with_context(doing)?;
    let size = (archive.len() as u64).next_multiple_of(SIZE);
    pending.file().set_len(size).with_context(doing)?;
    // Nobody else's to read: it may carry secrets.
    pending.commit(0o600)?;
    Ok(path)
}

/// The NoCloud seed for `guest`. A secret that cannot be opened is no reason to start without it: nobody in there
/// would say that it is missing.
fn seed(context: &Context, domu: &DomU, guest: &GuestConfig) -> Result<Vec<u8>> {
    let content = |file: &File| -> Result<Vec<u8>> {
        let path = context.slice.join(&file.source);
        match &file.body {
            Body::Secret => open(context, &file.source),
            Body::Link => fs::read_link(&path)
                .map(|target| target.into_os_string().into_encoded_bytes())
                .map_err(Into::into),
            Body::Copy | Body::Text(_) => fs::read(&path).map_err(Into::into),
        }
        .with_context(|| format!("reading {}", file.source))
    };
    let uuid = domu_uuid(&context.fleet, domu);
    let files = cloud::seed(guest, uuid, &domu.layers, content)?;
    let files = files.iter().map(|(name, content)| (*name, &content[..]));
    vfat::image(cloud::LABEL, files)
}

/// The archive for `guest`, from the slice of the commit at `slice`.
fn archive(slice: &Path, guest: &GuestConfig, secrets: &[Secret]) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    let document = guest.render();
    let mut head = header(EntryType::Regular, 0o644, document.len() as u64);
    tar.append_data(&mut head, GUEST_DOCUMENT, document.as_bytes())?;
    let own = format!("vservers/{}", guest.name);
    for tree in ["global", &own] {
        if slice.join(tree).symlink_metadata().is_ok() {
            append(&mut tar, slice, Path::new(tree))?;
        }
    }
    for (path, content) in secrets {
        let mut head = header(EntryType::Regular, 0o600, content.len() as u64);
        tar.append_data(&mut head, path, &content[..])
            .with_context(|| format!("adding {path}"))?;
    }
    tar.into_inner().context("ending the archive")
}

/// A decrypted secret, by its path on the config disk.
type Secret = (String, Vec<u8>);

/// The secrets of a domU. One that cannot be opened is said here, and missing in the domU, which
/// says so too.
fn secrets(context: &Context, domu: &DomU) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for layer in &domu.layers {
        let of_layer = layer.files.iter();
        for (path, file) in of_layer.filter(|(_, file)| file.body == Body::Secret) {
            let opened = open(context, &file.source);
            match opened.with_context(|| format!("opening {} for {}", file.source, domu.name)) {
                Ok(content) => {
                    secrets.push((format!("{SECRETS}/{}/{path}", layer.directory), content));
                }
                Err(error) => warn(&error),
            }
        }
    }
    secrets
}

/// Decrypts the secret `source` of the commit with the host's own key.
pub(crate) fn open(context: &Context, source: &str) -> Result<Vec<u8>> {
    let key = Key::read(&context.paths.key(), None)?;
    let encrypted = fs::read(context.slice.join(source))?;
    secret::open(&encrypted, &[key])
}

/// Adds `path`, relative to `slice`, and all that is below it.
fn append(tar: &mut Builder<Vec<u8>>, slice: &Path, path: &Path) -> Result<()> {
    let from = slice.join(path);
    let doing = || format!("adding {}", path.display());
    let meta = from.symlink_metadata().with_context(doing)?;
    if meta.is_symlink() {
        let target = fs::read_link(&from).with_context(doing)?;
        let mut head = header(EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut head, path, target).with_context(doing)
    } else if meta.is_file() {
        let content = fs::read(&from).with_context(doing)?;
        let mut head = header(EntryType::Regular, file_mode(&meta), content.len() as u64);
        tar.append_data(&mut head, path, Cursor::new(content))
            .with_context(doing)
    } else if meta.is_dir() {
        let mut head = header(EntryType::Directory, 0o755, 0);
        tar.append_data(&mut head, path, std::io::empty())
            .with_context(doing)?;
        let entries = fs::read_dir(&from).with_context(doing)?;
        let names = entries.map(|entry| Ok(entry?.file_name()));
        let mut names = names
            .collect::<std::io::Result<Vec<_>>>()
            .with_context(doing)?;
        names.sort();
        names
            .iter()
            .try_for_each(|name| append(tar, slice, &path.join(name)))
    } else {
        bail!("{}: it is no file, directory or link", doing())
    }
}

/// git's two modes.
fn file_mode(meta: &Metadata) -> u32 {
    if meta.permissions().mode() & 0o100 == 0 {
        0o644
    } else {
        0o755
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests;
