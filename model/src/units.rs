// SPDX-License-Identifier: GPL-3.0-or-later
//! Values with a unit or a fixed notation: sizes in bytes, MAC addresses.

mod interval;
mod mac;
mod size;

pub use interval::Interval;
pub use mac::Mac;
pub use size::Size;
