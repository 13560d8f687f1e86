// SPDX-License-Identifier: GPL-3.0-or-later
//! What systemd would start at every boot of a Debian root, and a root built by Domus need not:
//! its users, caches and indexes were made with it, it is never upgraded in place, `/var` is in
//! RAM, and what is on a disk is mounted because a document says so and never because a generator
//! found it. Of units only the links that start them are left out; the units stay.
//!
//! Every process that systemd starts costs about a second of emulated CPU: a boot is counted in
//! processes.

use crate::files::Added;

/// For [`crate::selection::Selection::left_out`] of every root.
pub const NOT_STARTED: [&str; 33] = [
    "etc/systemd/system/multi-user.target.wants/e2scrub_reap.service",
    "etc/systemd/system/sysinit.target.wants/systemd-network-generator.service",
    "etc/systemd/system/sysinit.target.wants/systemd-pstore.service",
    "etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer",
    "etc/systemd/system/timers.target.wants/apt-daily.timer",
    "etc/systemd/system/timers.target.wants/dpkg-db-backup.timer",
    "etc/systemd/system/timers.target.wants/e2scrub_all.timer",
    "etc/systemd/system/timers.target.wants/fstrim.timer",
    "etc/systemd/system/timers.target.wants/logrotate.timer",
    "usr/lib/systemd/system-generators/systemd-gpt-auto-generator",
    "usr/lib/systemd/system-generators/systemd-hibernate-resume-generator",
    "usr/lib/systemd/system-generators/systemd-ssh-generator",
    "usr/lib/systemd/system-generators/systemd-system-update-generator",
    "usr/lib/systemd/system-generators/systemd-tpm2-generator",
    "usr/lib/systemd/system/sysinit.target.wants/dev-hugepages.mount",
    "usr/lib/systemd/system/sysinit.target.wants/dev-mqueue.mount",
    "usr/lib/systemd/system/sysinit.target.wants/ldconfig.service",
    "usr/lib/systemd/system/sysinit.target.wants/proc-sys-fs-binfmt_misc.automount",
    "usr/lib/systemd/system/sysinit.target.wants/sys-fs-fuse-connections.mount",
    "usr/lib/systemd/system/sysinit.target.wants/sys-kernel-config.mount",
    "usr/lib/systemd/system/sysinit.target.wants/sys-kernel-debug.mount",
    "usr/lib/systemd/system/sysinit.target.wants/sys-kernel-tracing.mount",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-binfmt.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-firstboot.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-hibernate-clear.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-hwdb-update.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-journal-catalog-update.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-journal-flush.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-machine-id-commit.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-random-seed.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-sysusers.service",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-update-done.service",
    "usr/lib/systemd/system/timers.target.wants/systemd-tmpfiles-clean.timer",
];

/// Links that keep these units from ever starting.
pub fn masked(units: &[&str]) -> Vec<Added> {
    let link = |unit: &&str| Added::link(&format!("etc/systemd/system/{unit}"), "/dev/null");
    units.iter().map(link).collect()
}

/// Units of every root that others start and that have nothing to do there: networkd's, which
/// keeps its state over a change of root (`/var` is in RAM), and udev's, which takes rules from
/// credentials (nobody hands any over). For [`masked`].
pub const NEVER_STARTED: [&str; 2] = [
    "systemd-networkd-persistent-storage.service",
    "systemd-udev-load-credentials.service",
];
