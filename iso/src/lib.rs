// SPDX-License-Identifier: GPL-3.0-or-later
//! The dom0 ISO: what goes in, how it is put together, reading it back, and rehearsing it.

mod assemble;
pub mod config;
pub mod contents;
mod esp;
mod fat;
mod grub;
mod inside;
pub mod media;
mod partitions;
pub mod rehearse;
pub mod seal;
mod source;
mod unified;
mod verify;
mod xorriso;

pub use assemble::{Built, build};
pub use unified::Signing;
pub use verify::{Verified, verify};

/// Where the manifest stands on an ISO.
pub const MANIFEST: &str = "DOMUS/MANIFEST";
