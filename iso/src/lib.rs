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
mod openpgp;
mod partitions;
pub mod rehearse;
mod signing;
mod unified;
mod xorriso;

pub use assemble::{Built, build};
pub use signing::Signing;
