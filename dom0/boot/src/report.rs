// SPDX-License-Identifier: GPL-3.0-or-later
//! In a domU: telling dom0 through XenStore what it became.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use domus_model::boot::{BOOT_RECORD, SLICE};
use domus_model::fleet::Kind;
use domus_model::guest::{GUEST_DOCUMENT, GuestConfig, GuestMount};
use domus_model::report::{REPORT_NODE, Report};
use domus_system::machine;
use domus_system::xenstore::XenStore;

/// Written into every image by its build: NAME@REVISION.
const IMAGE: &str = "/usr/lib/domus/image";
const MEMORY: &str = "/sys/devices/system/xen_memory/xen_memory0/info/current_kb";

/// Looks at this domU and writes its report. One whose volumes are not where they should be is not
/// up: what it writes there would be gone when it ends.
pub(crate) fn send() -> Result<()> {
    ensure_mounted()?;
    let report = Report {
        version: 1,
        kind: kind()?,
        // The kernel keeps a few pages of a round number for itself.
        memory_mib: (number(MEMORY)? + 512) / 1024,
        vcpus: u32::try_from(std::thread::available_parallelism()?.get()).unwrap_or(u32::MAX),
        macs: machine::identity().macs,
        image: read(IMAGE)?
            .parse()
            .with_context(|| format!("reading {IMAGE}"))?,
        commit: commit()?,
        root_read_only: root_is_read_only()?,
    };
    XenStore::open()?.write(REPORT_NODE, &report.render())
}

fn ensure_mounted() -> Result<()> {
    let path = Path::new(SLICE).join(GUEST_DOCUMENT);
    let doing = || format!("reading {}", path.display());
    let guest = fs::read(&path).with_context(doing)?;
    let guest: GuestConfig = serde_json::from_slice(&guest).with_context(doing)?;
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

fn commit() -> Result<String> {
    let record: serde_json::Value = serde_json::from_str(&read(BOOT_RECORD)?)
        .with_context(|| format!("reading {BOOT_RECORD}"))?;
    let commit = record.get("commit").and_then(serde_json::Value::as_str);
    Ok(commit
        .with_context(|| format!("{BOOT_RECORD} names no commit"))?
        .to_owned())
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
