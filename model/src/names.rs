// SPDX-License-Identifier: GPL-3.0-or-later
//! Names: of fleets, hosts, domUs, networks, network cards, disks and images.

mod hosts;
mod image_ref;
mod name;
mod port;

pub use hosts::Hosts;
pub use image_ref::ImageRef;
pub use name::Name;
pub use port::Port;
