// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds the crate anew when a file that it embeds changes.

fn main() {
    println!("cargo::rerun-if-changed=rootfs");
}
