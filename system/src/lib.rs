// SPDX-License-Identifier: GPL-3.0-or-later
//! Touching the machine: programs, files, mounts, loop devices, device-mapper, kernel modules, XenStore.
//!
//! Each module is the smallest wrapper that does the job, with the pure parser of what it reads
//! beside the call. Nothing in here decides anything; that is `domus-model`'s work.

pub mod atomic;
pub mod block;
pub mod burn;
pub mod digest;
pub mod disks;
pub mod documents;
pub mod firmware;
pub mod flock;
pub mod interrupt;
pub mod iso;
pub mod kmod;
pub mod layers;
pub mod link;
pub mod live_etc;
pub mod loopdev;
pub mod machine;
mod mapper;
pub mod mount;
pub mod overlay;
pub mod program;
pub mod secret;
pub mod slots;
pub mod snapshot;
pub mod ssh;
pub mod storage;
pub mod sudo;
pub mod systemd;
pub mod upper;
pub mod verity;
pub mod vfat;
pub mod xenstore;
