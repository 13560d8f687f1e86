// SPDX-License-Identifier: GPL-3.0-or-later
//! Receipts: what was written to which disk, shown and remembered in `media.toml`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use domus_model::date::day;
use domus_model::diagnostic::Diagnostic;
use domus_model::disk::Disk;
use domus_model::media::{MEDIA, Media, Medium};
use domus_system::atomic;
use serde::Serialize;

/// `media.toml` of a work tree.
#[derive(Debug)]
pub(crate) struct Register {
    root: PathBuf,
}

impl Register {
    /// That of the repository `root`, which must be whole: so nothing is written to a disk that
    /// cannot be remembered.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let register = Self {
            root: root.to_owned(),
        };
        register.read()?;
        Ok(register)
    }

    /// What it says.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn read(&self) -> Result<Media> {
        let path = self.root.join(MEDIA);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Media::default()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Media::read(&content).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(Diagnostic::line).collect();
            anyhow!("{}; nothing was written", lines.join("; "))
        })
    }

    /// Adds a medium.
    fn remember(&self, medium: Medium) -> Result<()> {
        let path = self.root.join(MEDIA);
        let doing = || format!("writing {}", path.display());
        // The lock is on the directory itself, as for domus.lock.
        let held = File::open(&self.root).with_context(doing)?;
        held.lock().with_context(doing)?;
        let mut media = self.read()?;
        media.remember(medium);
        atomic::write(&path, media.render().as_bytes(), 0o644)?;
        // Whoever writes to disks is root, and the repository somebody else's.
        let owner = held.metadata().with_context(doing)?;
        if path.metadata().with_context(doing)?.uid() != owner.uid() {
            chown(&path, Some(owner.uid()), Some(owner.gid())).with_context(doing)?;
        }
        Ok(())
    }
}

/// A receipt that names a disk, and the day.
pub(crate) fn of_disk(disk: &Disk) -> Medium {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0));
    Medium {
        date: day(seconds),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        release: None,
        id: None,
        host: None,
        commit: None,
        digest: None,
    }
}

#[derive(Serialize)]
struct Report<'a> {
    device: &'a str,
    #[serde(flatten)]
    medium: &'a Medium,
    remembered: bool,
}

/// Shows the receipt, then has it remembered.
///
/// # Errors
/// It cannot be remembered; the disk is whole all the same.
pub(crate) fn give(
    medium: Medium,
    disk: &Disk,
    register: Option<Register>,
    json: bool,
) -> Result<ExitCode> {
    if json {
        let report = Report {
            device: &disk.path,
            medium: &medium,
            remembered: register.is_some(),
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{} is written, and what it gives back is right", disk.path);
        for (key, value) in medium.settings() {
            println!("  {key:<7}  {value}");
        }
    }
    let device = &disk.path;
    match register {
        Some(register) => register
            .remember(medium)
            .with_context(|| format!("{device} is whole, but it is not remembered"))?,
        None => eprintln!("Not remembered: there is no fleet here."),
    }
    if !json {
        println!("Pull it out when its light is off; commit {MEDIA}.");
    }
    Ok(ExitCode::SUCCESS)
}
