// SPDX-License-Identifier: GPL-3.0-or-later
//! What goes into dom0: packages, what is left out, what Domus adds, which modules. Pure.

use domus_build::debian::{self, Bootstrap, Variant};
use domus_build::files::{self, Added};
use domus_build::initramfs::Wanted;
use domus_build::programs::Shipped;
use domus_build::selection::Selection;
use domus_build::systemd;
use domus_model::domain::OPEN_VIF;
use domus_model::fleet::Fleet;
use include_dir::{Dir, include_dir};

static ROOTFS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../dom0/rootfs");

/// What dom0 needs: Xen, libvirt's Xen driver, storage and network tools, what asks disks how they are, a firewall and the
/// names of protocols that rules of operators use, a way in; the GRUB that starts foreign images; curl for releases; git, mdadm, nano and xfsprogs for whoever
/// rescues it. No QEMU.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "ca-certificates",
    "curl",
    "dbus",
    "e2fsprogs",
    "git",
    "grub-xen-host",
    "iproute2",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-xen",
    "linux-image-amd64",
    "lvm2",
    "mdadm",
    "nano",
    "netbase",
    "nftables",
    "openssh-server",
    "smartmontools",
    "systemd-repart",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
    "xen-hypervisor-4.20-amd64",
    "xen-utils-4.20",
    "xfsprogs",
];

/// What a release has beside them that runs domUs of kind hvm: QEMU as Xen calls it.
const EMULATOR: &str = "qemu-system-xen";

/// What dom0's root leaves out: boot files (they stand on the ISO), keys, caches and logs of the
/// build, modules for desktops, and what a few commands need that nobody calls here: git's that are
/// written in Perl, serve others, fetch from whoever has no git or are a second `git`, the GRUB of guests of 32 bits, apt (nothing is installed on a read-only
/// root), Xen's in Python and its shim for PV in PVH, XFS's scrubbing. Of smartmontools
/// the link alone that starts its daemon, which would write mails.
pub static SELECTION: Selection = Selection {
    left_out: &[
        "boot/",
        "etc/machine-id",
        "etc/ssh/ssh_host_",
        "etc/systemd/system/multi-user.target.wants/smartmontools.service",
        "etc/systemd/system/multi-user.target.wants/virtlogd.service",
        "etc/systemd/system/ssh.service.wants/sshd-keygen.service",
        "etc/systemd/system/sysinit.target.wants/blk-availability.service",
        "etc/systemd/system/sysinit.target.wants/lvm2-monitor.service",
        "etc/systemd/system/timers.target.wants/xfs_scrub_all.timer",
        "usr/bin/apt",
        "usr/bin/apt-",
        "usr/bin/git-shell",
        "usr/bin/scalar",
        "usr/bin/sqv",
        "usr/lib/apt/",
        "usr/lib/git-core/git-daemon",
        "usr/lib/git-core/git-http-backend",
        "usr/lib/git-core/git-http-fetch",
        "usr/lib/git-core/git-http-push",
        "usr/lib/git-core/git-imap-send",
        "usr/lib/git-core/git-sh-i18n--envsubst",
        "usr/lib/git-core/git-shell",
        "usr/lib/git-core/scalar",
        "usr/lib/grub-xen/grub-i386-xen.bin",
        "usr/lib/udev/hwdb.bin",
        "usr/lib/udev/hwdb.d/",
        "usr/lib/x86_64-linux-gnu/libapt-",
        "usr/lib/xen-4.20/boot/xen-shim",
        "usr/sbin/xfs_scrub",
        "var/lib/apt/lists/",
    ],
    emptied: &["var/cache/", "var/log/"],
    modules: &[
        ("drivers/comedi/", false),
        ("drivers/gpu/drm/amd/", false),
        ("drivers/gpu/drm/i915/", false),
        ("drivers/gpu/drm/nouveau/", false),
        ("drivers/gpu/drm/radeon/", false),
        ("drivers/gpu/drm/xe/", false),
        ("drivers/iio/", false),
        ("drivers/media/", false),
        ("drivers/net/wireless/", false),
        ("drivers/staging/", false),
        ("net/bluetooth/", false),
        ("net/mac80211/", false),
        ("net/rfkill/", false),
        ("net/wireless/", false),
        // With it, what bridges pass on between guests would be dropped by dom0's firewall.
        ("net/bridge/br_netfilter", false),
        ("sound/", false),
    ],
    cuts: &[
        ("git", "git-man"),
        ("git", "liberror-perl"),
        ("git", "perl"),
        ("grub-xen-host", "grub-xen-bin"),
        ("xen-utils", "python3"),
        ("xfsprogs", "libicu"),
        ("xfsprogs", "python3"),
    ],
};

/// Firmware that adapters of disks load, if the release has it: their modules are in the initramfs
/// and do not ask again. QLogic and Brocade fibre channel, AdvanSys.
pub const FIRMWARE: &[&str] = &["advansys/", "cbfw-", "ct2fw-", "ctfw-", "ql1", "ql2", "ql8"];

/// Modules of the initramfs: every way a disk, stick or CD may be attached, and the keyboard.
pub const MODULES: Wanted<'static> = Wanted {
    directories: &[
        "drivers/ata",
        "drivers/cdrom",
        "drivers/hid/usbhid",
        "drivers/message/fusion",
        "drivers/mmc",
        "drivers/nvme/host",
        "drivers/scsi",
        "drivers/usb/host",
        "drivers/usb/storage",
        "drivers/virtio",
        "fs/xfs",
    ],
    names: &[
        "cdrom",
        "dm_verity",
        "efivarfs",
        "squashfs",
        "ext4",
        "hid_generic",
        "isofs",
        "loop",
        "nls_ascii",
        "overlay",
        "sha256_ssse3",
        "virtio_blk",
        "virtio_scsi",
        "vmd",
    ],
};

/// What the initramfs takes of a tree.
pub(crate) fn initramfs() -> String {
    format!("{MODULES:?} {FIRMWARE:?}")
}

/// Units that have no place in dom0: they would start and stop guests, or change disks, behind the
/// agent's back, write mails about mirrors, load and mount what nothing here uses, or start a second
/// systemd for whoever logs in (31 s of processor time when emulated).
const MASKED: &[&str] = &[
    "libvirt-guests.service",
    "mdmonitor.service",
    "modprobe@drm.service",
    "sys-fs-fuse-connections.mount",
    "systemd-repart.service",
    "user@.service",
    "xendomains.service",
];

/// Units wanted by `multi-user.target`.
const WANTED: &[&str] = &[
    "domus-dom0.service",
    "domus-health.service",
    "domus-shutdown.service",
];

/// The bootstrap of dom0's Debian.
pub fn bootstrap(fleet: &Fleet, mirror: Option<&str>) -> Bootstrap {
    let mut more = fleet.release.packages.clone();
    more.extend(fleet.release.hvm.then(|| EMULATOR.to_owned()));
    Bootstrap {
        suite: fleet.debian.suite.clone(),
        mirror: mirror
            .map(str::to_owned)
            .or_else(|| fleet.debian.mirror.clone()),
        components: fleet.debian.components.clone(),
        variant: Variant::Minbase,
        packages: PACKAGES.iter().map(ToString::to_string).collect(),
        more: debian::beyond(PACKAGES, more),
        hooks: Vec::new(),
    }
}

/// What Domus adds to dom0. `cpu_map`: libvirt's own index of CPU models.
pub fn added(agent: &Shipped, hotplug: &Shipped, cpu_map: &str) -> Vec<Added> {
    let mut added = files::embedded(&ROOTFS);
    let units = "usr/lib/systemd/system";
    let program = "usr/lib/domus/domus-hotplug";
    added.extend([
        Added::directory("config"),
        Added::directory("dev"),
        Added::text("etc/machine-id", ""),
        Added::program("usr/sbin/domus-dom0", agent),
        Added::program(program, hotplug),
        Added::link("etc/xen/scripts/block", "/usr/lib/domus/domus-hotplug"),
        Added::link("etc/xen/scripts/vif-bridge", "/usr/lib/domus/domus-hotplug"),
        Added::link(
            &format!("etc/xen/scripts/{OPEN_VIF}"),
            "/usr/lib/domus/domus-hotplug",
        ),
        Added::text(
            "usr/share/libvirt/cpu_map/index.xml",
            with_minimal_cpu(cpu_map),
        ),
        Added::link(
            &format!("{units}/multi-user.target.wants/systemd-networkd.service"),
            "../systemd-networkd.service",
        ),
        Added::link(
            &format!("{units}/sysinit.target.wants/nftables.service"),
            "../nftables.service",
        ),
    ]);
    for unit in WANTED {
        let link = format!("{units}/multi-user.target.wants/{unit}");
        added.push(Added::link(&link, &format!("../{unit}")));
    }
    added.extend(systemd::masked(MASKED));
    added.extend(systemd::masked(&systemd::NEVER_STARTED));
    added
}

/// libvirt's index of CPU models with Domus' minimal one in front. Why: a CPU that is emulated
/// under Xen may fit none of libvirt's own, and then its Xen driver does not start; see
/// `docs/decisions/libvirt.md`.
fn with_minimal_cpu(index: &str) -> String {
    let group = "<group name='generic'>";
    let include = "<include filename='x86_domus-minimal.xml'/>";
    index.replacen(group, &format!("{group}\n      {include}"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_caches_never_go_into_an_image() {
        for (path, out) in [
            ("etc/ssh/ssh_host_ed25519_key", true),
            ("etc/ssh/sshd_config", false),
            ("usr/lib/modules/6.12/kernel/sound/core/snd.ko.xz", true),
            (
                "usr/lib/modules/6.12/kernel/drivers/scsi/sd_mod.ko.xz",
                false,
            ),
        ] {
            assert_eq!(!SELECTION.takes(path, false), out, "{path}");
        }
    }

    #[test]
    fn the_minimal_cpu_is_an_addition() {
        let index = "<cpus><arch name='x86'><group name='generic'><include filename='a'/></group>";
        let with = with_minimal_cpu(index);
        assert!(with.contains("x86_domus-minimal.xml") && with.contains("filename='a'"));
    }
}
