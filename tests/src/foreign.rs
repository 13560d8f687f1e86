// SPDX-License-Identifier: GPL-3.0-or-later
//! A disk as others make it: a partition table, a Debian with cloud-init, and the menu of its GRUB.

use crate::fleet::BUILD;
use crate::ran::Ran;
use assert_cmd::Command;
use std::fs;
use std::path::Path;

/// Where the partition begins, in bytes.
const OFFSET: u64 = 1 << 20;
const SIZE: u64 = 1 << 30;
/// What it needs of Debian. No recommended packages.
const PACKAGES: &str = "cloud-init,initramfs-tools,iproute2,linux-image-amd64,systemd-sysv,udev";
/// An initramfs that is small and quick to unpack: the emulator is slow.
const INITRAMFS: &str = "mkdir -p \"$1/etc/initramfs-tools/conf.d\" && \
    printf 'MODULES=list\\nCOMPRESS=gzip\\n' >\"$1/etc/initramfs-tools/conf.d/small\" && \
    printf 'xen_blkfront\\next4\\n' >\"$1/etc/initramfs-tools/modules\"";
/// The kernel is one that is not compressed: the GRUB of a `pv` knows none of zstd.
const MENU: &str = "set timeout=0\nmenuentry Debian {\n\
    linux /boot/vmlinux root=/dev/xvda1 rw console=hvc0 quiet\ninitrd /initrd.img\n}\n";

/// Makes the disk at `path`, with the kernel `vmlinux`, an ELF file.
///
/// # Panics
/// A program fails, or Debian cannot be had.
pub fn disk(path: &Path, vmlinux: &Path) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root").display().to_string();
    let mirror = std::env::var("DOMUS_MIRROR").ok();
    let include = format!("--include={PACKAGES}");
    let hook = format!("--essential-hook={INITRAMFS}");
    let mut args = vec!["--quiet", "--variant=minbase", &include, &hook];
    args.push("--customize-hook=chroot \"$1\" systemctl enable systemd-networkd");
    args.extend(["--dpkgopt=path-exclude=/usr/share/doc/*", "trixie", &root]);
    args.extend(mirror.as_deref());
    let mut mmdebstrap = Command::new("mmdebstrap");
    Ran::of(mmdebstrap.args(args), BUILD).exits(0);
    let grub = Path::new(&root).join("boot/grub");
    fs::create_dir_all(&grub).expect("a directory");
    fs::write(grub.join("grub.cfg"), MENU).expect("a menu");
    fs::copy(vmlinux, Path::new(&root).join("boot/vmlinux")).expect("a kernel");
    // It has a host name of its own until somebody says another.
    fs::write(Path::new(&root).join("etc/hostname"), "template\n").expect("a name");

    let disk = path.display().to_string();
    let file = fs::File::create(path).expect("a disk");
    file.set_len(OFFSET + SIZE + OFFSET).expect("its size");
    let table = format!(
        "label: gpt\nstart={}, size={}, type=linux\n",
        OFFSET / 512,
        SIZE / 512
    );
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.args(["--quiet", &disk]).write_stdin(table);
    Ran::of(&mut sfdisk, BUILD).exits(0);
    let offset = format!("offset={OFFSET}");
    let size = format!("{}k", SIZE >> 10);
    let args = [
        "-q", "-F", "-t", "ext4", "-E", &offset, "-d", &root, &disk, &size,
    ];
    Ran::program("mke2fs", &args);
}
