// SPDX-License-Identifier: GPL-3.0-or-later
//! libvirt, as little of it as a dom0 needs: which domains run and what happens to them, starting
//! and ending one, what it is given, and how much memory dom0 keeps. Nothing in here decides anything.

mod dom0;
mod events;
mod hypervisor;
mod tuning;

pub use dom0::Dom0Memory;
pub use events::{Ending, Event, Events};
pub use hypervisor::{Hypervisor, Running, XEN};
