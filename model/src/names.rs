//! Names: of fleets, hosts, domUs, networks, disks and images.
// SPDX-License-Identifier: GPL-3.0-or-later

mod image_ref;
mod name;

pub use image_ref::ImageRef;
pub use name::Name;
