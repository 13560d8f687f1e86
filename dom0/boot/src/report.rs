// SPDX-License-Identifier: GPL-3.0-or-later
//! In a domU: how it is, for dom0.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use domus_model::fleet::Kind;
use domus_model::guest::{GuestConfig, GuestMount};
use domus_model::report::{Refreshed, Report, reason};
use domus_system::machine;
use domus_system::program::Program;

use crate::guest;

/// Written into every image by its build: NAME@REVISION.
const IMAGE: &str = "/usr/lib/domus/image";
/// How long its health command may take, in seconds.
const HEALTH_LIMIT: &str = "20";
const MEMORY: &str = "/sys/devices/system/xen_memory/xen_memory0/info/current_kb";

/// Looks at this domU and says how it is, and what came of taking another configuration.
///
/// # Errors
/// Something of it cannot be read.
pub(crate) fn make(refreshed: Option<Refreshed>) -> Result<Report> {
    Ok(Report {
        version: 1,
        kind: kind()?,
        // The kernel keeps a few pages of a round number for itself.
        memory_mib: (number(MEMORY)? + 512) / 1024,
        vcpus: u32::try_from(std::thread::available_parallelism()?.get()).unwrap_or(u32::MAX),
        macs: machine::identity().macs,
        image: read(IMAGE)?
            .parse()
            .with_context(|| format!("reading {IMAGE}"))?,
        commit: guest::document()?.commit,
        root_read_only: root_is_read_only()?,
        ill: ill(),
        refreshes: true,
        refreshed,
    })
}

/// Why this domU is not well, if it is not: a volume is not where it should be, so that what is written
/// there would be gone when it ends; or its health command fails.
pub(crate) fn ill() -> Option<String> {
    let looked = guest::document().and_then(|guest| {
        ensure_mounted(&guest)?;
        let Some(command) = guest.health else {
            return Ok(());
        };
        Program::new("timeout")
            .args(["--kill-after=5", HEALTH_LIMIT, "sh", "-c", &command])
            .run()
            .context("its health command")
    });
    looked.err().map(|error| reason(&format!("{error:#}")))
}

fn ensure_mounted(guest: &GuestConfig) -> Result<()> {
    let mounts = read("/proc/self/mounts")?;
    for GuestMount { device, path, .. } in &guest.mounts {
        let is_it = |line: &str| line.starts_with(&format!("/dev/{device} {path} "));
        if !mounts.lines().any(is_it) {
            bail!("/dev/{device} is not mounted on {path}: see `systemctl --failed`");
        }
    }
    Ok(())
}

fn kind() -> Result<Kind> {
    match read("/sys/hypervisor/guest_type")?.as_str() {
        "PV" => Ok(Kind::Pv),
        "PVH" => Ok(Kind::Pvh),
        "HVM" => Ok(Kind::Hvm),
        other => bail!("/sys/hypervisor/guest_type says {other:?}: no kind of domU"),
    }
}

/// Tries to write to `/` and says whether that was refused as read-only.
fn root_is_read_only() -> Result<bool> {
    let path = Path::new("/.domus-write-test");
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map(drop::<File>)
    {
        Ok(()) => {
            fs::remove_file(path)?;
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Ok(true),
        Err(error) => Err(error).context("trying to write to /"),
    }
}

fn number(path: &str) -> Result<u64> {
    read(path)?
        .parse()
        .with_context(|| format!("reading {path}"))
}

fn read(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(text.trim().to_owned())
}
