//! Values with a unit or a fixed notation: sizes in bytes, MAC addresses.
// SPDX-License-Identifier: GPL-3.0-or-later

mod mac;
mod size;

pub use mac::Mac;
pub use size::Size;
