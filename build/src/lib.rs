// SPDX-License-Identifier: GPL-3.0-or-later
//! What building an ISO and building a domU image have in common: Debian trees by mmdebstrap,
//! tools from a tool root, steps that are kept by the digest of their inputs, root images,
//! initramfs.

pub mod cache;
pub mod debian;
pub mod files;
pub mod initramfs;
pub mod kernel;
pub mod pack;
pub mod programs;
pub mod progress;
pub mod roottar;
pub mod selection;
pub mod systemd;
pub mod toolroot;
mod unneeded;
pub mod verity;

/// Time stamp of everything that is built, in seconds since 1970 (2026-01-01): the same inputs
/// give the same bytes.
pub const EPOCH: &str = "1767225600";
