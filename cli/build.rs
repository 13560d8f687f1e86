// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds the program anew when a file of the embedded template changes.

fn main() {
    println!("cargo::rerun-if-changed=../config-repo-template");
}
