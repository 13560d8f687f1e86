// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading a release back: its manifest and seal, by which an operator's machine and a host know
//! that an ISO is whole.

mod head;
pub mod seal;
mod source;
mod verify;

pub use head::{HEAD, Head};
pub use verify::{Verified, entry, manifest, verify, with_file};
