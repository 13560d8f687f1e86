// SPDX-License-Identifier: GPL-3.0-or-later
//! The local disks of this host: prepared where they are blank, mounted, and how they are.

mod config;
mod disks;
pub(crate) mod health;
mod mounts;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use domus_model::boot::ConfigSource;
use domus_model::storage::mirror::Mirror;
use domus_model::storage::{Note, SWAP, Standing, TMP, VAR};
use domus_system::atomic;
use domus_system::storage::{BY_ID, mirror};
use serde::Deserialize;
use serde_json::Value;

use crate::context::Context;
use crate::lock::Lock;
use crate::notes::one_line;
use crate::volume;
use crate::warn;

use disks::Disks;

/// Its key in the record of the boot.
const KEY: &str = "storage";
/// The key of what `/config` is on.
const CONFIG: &str = "config";
/// Where local file systems are mounted.
const MOUNTED: &str = "/run/domus/storage";

/// Prepares and mounts what the document says, as far as that can be. Nothing if it says nothing.
///
/// # Errors
/// What came of it cannot be kept in the record of the boot.
pub(crate) fn run(context: &Context) -> Result<Option<Note>> {
    let Some(local) = &context.host.storage.local else {
        return Ok(None);
    };
    let _lock = Lock::of(
        &context.paths.ram().join("storage.lock"),
        "that prepares disks",
    )?;
    let mut note = Note::new(Standing::Ok);
    let mut disks = Disks::new(context, local);
    let device = disks.prepare(&mut note);
    let config = config::prepare(context, local, &disks, &mut note);
    let config = config.unwrap_or_else(|error| {
        note.worse(Standing::Degraded, one_line(&error));
        None
    });
    if let Some(device) = device {
        match domus_system::storage::ensure_group(&local.volume_group, &device) {
            Ok(()) => volumes(context, &mut note),
            Err(error) => note.worse(Standing::Refused, one_line(&error)),
        }
    }
    if local.var.is_some() && !holds(&note, "/var") {
        note.remarks.push("/var is in RAM".to_owned());
    }
    keep(context, &note, config.as_ref())?;
    note.half = None;
    Ok(Some(note))
}

/// For people.
pub(crate) fn render(note: Option<&Note>) -> String {
    match note {
        Some(note) => format!("domus: {}\n", note.line()),
        None => "domus: host.toml names no disks in [storage]\n".to_owned(),
    }
}

/// What is kept on the disks: each by itself.
fn volumes(context: &Context, note: &mut Note) {
    let Some(local) = &context.host.storage.local else {
        return;
    };
    let group = &local.volume_group;
    type Use = fn(&Context, &Path) -> Result<()>;
    let all: [(_, _, _, Use); 3] = [
        ("/var", VAR, local.var, mounts::var),
        ("/tmp", TMP, local.tmp, mounts::tmp),
        ("swap", SWAP, local.swap, mounts::swap),
    ];
    for (what, name, size, mount) in all {
        let Some(size) = size else { continue };
        let done = volume::of_host(group, name, size).and_then(|device| mount(context, &device));
        match done {
            Ok(()) => note.holds.push(what.to_owned()),
            Err(error) => {
                let reason = format!("{what} is not on disk: {}", one_line(&error));
                note.worse(Standing::Degraded, reason);
            }
        }
    }
    note.holds.push(format!("volume group {group}"));
}

fn holds(note: &Note, what: &str) -> bool {
    note.holds.iter().any(|held| held == what)
}

/// Adds what was done to the record of the boot. `config`: where `/config` is now, if that is new.
fn keep(context: &Context, note: &Note, config: Option<&ConfigSource>) -> Result<()> {
    let path = context.paths.boot_record();
    let doing = || format!("writing {}", path.display());
    let text = fs::read(&path).with_context(doing)?;
    let mut record: Value = serde_json::from_slice(&text).with_context(doing)?;
    record[KEY] = serde_json::to_value(note)?;
    if let Some(config) = config {
        record[CONFIG] = serde_json::to_value(config)?;
    }
    let text = serde_json::to_string_pretty(&record)?;
    atomic::write(&path, text.as_bytes(), 0o644)
}

/// How the disks are now, if there shall be any.
pub(crate) fn status(context: &Context) -> Option<Note> {
    let local = context.host.storage.local.as_ref();
    let booted = context.record.get(KEY).map(Note::deserialize);
    let mut note = match booted {
        Some(Ok(note)) => note,
        // A commit that was taken since the boot may be the first to name disks.
        None => {
            local?;
            let mut note = Note::new(Standing::Waiting);
            note.worse(Standing::Waiting, "disks are prepared when the host boots");
            note
        }
        Some(Err(error)) => {
            warn(&anyhow::Error::from(error).context("reading what was done to local disks"));
            return None;
        }
    };
    let is_mirror = local.is_some_and(|local| local.mirror);
    match mirror::state(&context.paths.at("/")) {
        Some(array) => note.set_mirror(Mirror::new(&array, &named(context)), disks::HALF),
        None if is_mirror && note.standing <= Standing::Degraded => {
            note.worse(Standing::Refused, "the mirror does not run");
        }
        None => {}
    }
    note.half = None;
    // Status says that itself.
    let said = context.config.as_ref().and_then(ConfigSource::line);
    note.remarks.retain(|remark| Some(remark) != said.as_ref());
    if holds(&note, "/var")
        && let Err(error) = mounts::has_room(&context.paths.at(MOUNTED).join("var"))
    {
        note.worse(Standing::Degraded, format!("/var: {}", one_line(&error)));
    }
    Some(note)
}

/// The disks that host.toml names, each with its device if it is there: `sda`.
fn named(context: &Context) -> Vec<(String, Option<String>)> {
    let local = context.host.storage.local.as_ref();
    let names = local.map_or(&[][..], |local| &local.disks);
    let device = |name: &String| {
        let path = context.paths.at(BY_ID).join(name).canonicalize().ok()?;
        Some(path.file_name()?.to_str()?.to_owned())
    };
    names
        .iter()
        .map(|name| (name.clone(), device(name)))
        .collect()
}
