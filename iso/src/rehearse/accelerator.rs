// SPDX-License-Identifier: GPL-3.0-or-later
//! What runs the machine. `/dev/kvm` may be there and yet not run Xen: only a boot tells.

use std::path::Path;

use anyhow::{Context, Result};

/// An accelerator of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// Emulation.
    Tcg,
}

impl Accelerator {
    /// Its name on QEMU's command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The CPU to show. TCG: no Intel model has VMX there, so PVH needs SVM; see
    /// `docs/decisions/rehearsal.md`.
    pub(crate) fn cpu(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "qemu64,+svm,+npt,-cx16",
        }
    }
}

/// How long a boot under KVM may take to Xen's banner before KVM counts as unusable, in seconds.
pub(crate) const PROBE_SECONDS: u64 = 15;

/// Accelerators to try, the best first. A verdict of an earlier probe on this very machine and
/// kernel is kept in the rehearsal's directory, so that it is not waited for again.
pub(crate) fn candidates(wanted: Option<Accelerator>, memory: &Path) -> Vec<Accelerator> {
    match wanted {
        Some(wanted) => vec![wanted],
        None if !Path::new("/dev/kvm").exists() || is_known_bad(memory) => vec![Accelerator::Tcg],
        None => vec![Accelerator::Kvm, Accelerator::Tcg],
    }
}

/// Remembers that KVM does not reach Xen on this machine.
pub(crate) fn remember_bad(memory: &Path) -> Result<()> {
    domus_system::atomic::write(memory, machine().as_bytes(), 0o644)
        .context("remembering that KVM cannot be used")
}

fn is_known_bad(memory: &Path) -> bool {
    std::fs::read_to_string(memory).is_ok_and(|text| text == machine())
}

/// What the verdict holds for: this kernel, this boot.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let version = std::fs::read_to_string("/proc/version").unwrap_or_default();
    format!("{version}{boot}")
}
