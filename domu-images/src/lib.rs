// SPDX-License-Identifier: GPL-3.0-or-later
//! domU images: from a recipe to a read-only root, a kernel and an initramfs, with a manifest.

mod assemble;
mod foreign;
pub mod recipe;

pub use assemble::{Built, build};
