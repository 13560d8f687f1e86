// SPDX-License-Identifier: GPL-3.0-or-later
//! The record of this boot, kept in RAM for the agent and for whoever asks later.

use std::path::Path;

use anyhow::Result;
use domus_model::boot::{BOOT_RECORD, BootRecord, Moment};
use domus_system::{atomic, machine};

/// An empty record.
pub(crate) fn new() -> BootRecord {
    BootRecord {
        release: None,
        release_id: None,
        medium: None,
        slot: None,
        left_release: None,
        verified: None,
        root: None,
        name: None,
        commit: None,
        statement: None,
        trial: None,
        left: None,
        image: None,
        machine: None,
        config: None,
        looked_at: Vec::new(),
        layers: Vec::new(),
        problems: Vec::new(),
        timeline: Vec::new(),
    }
}

/// Notes that `event` happened now.
pub(crate) fn note(record: &mut BootRecord, event: &str) {
    let seconds = (machine::uptime().as_secs_f64() * 100.0).round() / 100.0;
    record.timeline.push(Moment {
        event: event.into(),
        seconds,
    });
}

/// Writes the record to [`BOOT_RECORD`].
pub(crate) fn write(record: &BootRecord) -> Result<()> {
    let text = serde_json::to_string_pretty(record)?;
    atomic::write(Path::new(BOOT_RECORD), text.as_bytes(), 0o644)
}
