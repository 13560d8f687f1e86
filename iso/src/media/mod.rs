// SPDX-License-Identifier: GPL-3.0-or-later
//! A medium: release and configuration of one host in one image, so that one stick is one host.
//! Why it is laid out so: `docs/decisions/media.md`.

mod boot;
mod layout;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_build::progress::{Progress, step};
use domus_build::toolroot::ToolRoot;
use domus_model::manifest::{EFI_IMAGE, ReleaseManifest};
use domus_model::media::Label;
use domus_model::slots::SLOT_A;
use domus_system::atomic::Pending;
use domus_system::iso::{self, verify};
use uuid::Uuid;

use crate::config::{Configuration, Content};
use crate::fat::Fat;
use crate::partitions;
use crate::signing::Signing;

use layout::{ESP, ESP_SIZE, Layout};

/// Where the label stands on the EFI system partition.
const LABEL: &str = "/DOMUS/MEDIUM";

/// What goes onto a medium.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// What its host is configured with.
    pub configuration: Configuration<'a>,
    /// The ISO.
    pub iso: &'a Path,
    /// The manifest of the ISO, which was verified.
    pub manifest: &'a ReleaseManifest,
    /// Who signed the release for Secure Boot, if it is signed: what chooses is signed, too.
    pub signing: Option<&'a Signing>,
}

impl Parts<'_> {
    fn label(&self) -> Label {
        let Configuration {
            fleet,
            host,
            commit,
            statement,
            ..
        } = self.configuration;
        Label {
            version: 1,
            fleet: fleet.name.clone(),
            host: host.name.clone(),
            release: self.manifest.payload.release.clone(),
            id: self.manifest.id.clone(),
            commit: commit.to_owned(),
            statement: statement.to_owned(),
        }
    }
}

/// Builds the medium as the file `to`, and returns its label.
///
/// # Errors
/// Something of it is missing, or the disk is full; `to` is then as it was.
pub fn build(
    parts: &Parts<'_>,
    tools: &ToolRoot,
    to: &Path,
    progress: &dyn Progress,
) -> Result<Label> {
    let doing = || format!("building the medium {}", to.display());
    let mut pending = Pending::new(to)?;
    let near = to.parent().unwrap_or(Path::new("."));
    let content = step(progress, "medium: configuration", || {
        Content::gather(&parts.configuration, near)
    })?;
    let label = parts.label();
    let console = parts.configuration.host.machine.console;
    let text = serde_json::to_string_pretty(&label)? + "\n";
    // The same label has the same UUIDs, another one has others.
    let seed = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("domus:{text}").as_bytes());
    let layout = Layout::new(
        parts.iso.metadata().with_context(doing)?.len(),
        content.needs,
        parts.signing.is_some(),
    );
    let image = pending.temporary().to_owned();
    pending
        .file()
        .set_len(layout.length())
        .with_context(doing)?;
    step(progress, "medium: boot partitions", || {
        partitions::write(tools, &image, &layout.partitions(), Some(seed))?;
        let scratch = tempfile::tempdir_in(near).with_context(doing)?;
        boot::bios(tools, &image, scratch.path())?;
        let esp = boot::esp(tools, parts.signing, console, &text, scratch.path())?;
        place(&esp, &image, ESP).with_context(doing)
    })?;
    step(progress, "medium: release", || {
        place(parts.iso, &image, SLOT_A).with_context(doing)?;
        let boot = layout.boot();
        boot.map_or(Ok(()), |to| {
            iso::with_file(parts.iso, EFI_IMAGE, |from, _| write(from, &image, to))
                .with_context(doing)
        })
    })?;
    step(progress, "medium: config partition", || {
        content
            .format(tools, &image, layout.config(), Some(seed))
            .with_context(doing)
    })?;
    step(progress, "medium: reading it back", || {
        verify(&image)
            .context("reading the new medium back")
            .map(drop)
    })?;
    pending.commit(0o600)?;
    Ok(label)
}

/// The label of the medium at `path`, an image or a device.
///
/// # Errors
/// It is no medium of Domus, or damaged.
pub fn label(tools: &ToolRoot, path: &Path) -> Result<Label> {
    let text = Fat::at(tools, path, ESP).read(LABEL)?;
    let doing = || format!("reading the label of {}", path.display());
    let label: Label = serde_json::from_slice(&text).with_context(doing)?;
    ensure!(
        label.version == 1,
        "{}: version {}, this release of Domus knows version 1",
        doing(),
        label.version
    );
    Ok(label)
}

/// Writes the file `from` into `image` at `offset`.
fn place(from: &Path, image: &Path, offset: u64) -> Result<()> {
    write(&mut File::open(from)?, image, offset)
}

fn write(from: &mut dyn Read, image: &Path, offset: u64) -> Result<()> {
    let mut image = OpenOptions::new().write(true).open(image)?;
    image.seek(SeekFrom::Start(offset))?;
    std::io::copy(from, &mut image)?;
    Ok(())
}

/// Writes something to a file in `scratch`, for programs that copy files.
fn file(scratch: &Path, name: &str, text: impl AsRef<[u8]>) -> Result<std::path::PathBuf> {
    let path = scratch.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Size of the EFI system partition, in sectors of 512 bytes.
const ESP_SECTORS: u64 = ESP_SIZE / 512;
