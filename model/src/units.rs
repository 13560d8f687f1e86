// SPDX-License-Identifier: GPL-3.0-or-later
//! Values with a unit or a fixed notation: sizes in bytes, MAC addresses.

mod cpus;
mod interval;
mod mac;
mod pci;
mod rate;
mod size;

pub use cpus::CpuSet;
pub use interval::Interval;
pub use mac::Mac;
pub use pci::PciDevice;
pub use rate::Rate;
pub use size::Size;
