// SPDX-License-Identifier: GPL-3.0-or-later
//! GRUB: its menu, and the images that firmware starts. All modules are inside the images, so
//! that everything on the ISO is a file of the manifest.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use domus_build::toolroot::ToolRoot;
use domus_model::manifest::Payload;

const COMMON: &[&str] = &[
    "configfile",
    "echo",
    "gzio",
    "halt",
    "iso9660",
    "ls",
    "multiboot2",
    "normal",
    "part_gpt",
    "part_msdos",
    "reboot",
    "search",
    "search_fs_uuid",
    "serial",
    "sleep",
    "terminal",
    "test",
];
const BIOS: &[&str] = &["biosdisk"];
const EFI: &[&str] = &["all_video", "efi_gop", "fat"];

/// Size of the EFI system partition image, in KiB.
const EFI_KIB: u32 = 2880;

/// Kernel arguments of dom0. The console goes to Xen, and so to the serial port.
fn kernel_arguments(id: &str) -> String {
    format!(
        "domus.release={id} console=tty0 console=hvc0 loglevel=6 systemd.condition_needs_update=no"
    )
}

/// Xen's arguments for a release whose dom0 gets at most `ceiling`.
pub(crate) fn xen_arguments(ceiling: domus_model::units::Size) -> String {
    let mib = ceiling.mib();
    format!("dom0_mem={mib}M,max:{mib}M console=com1,vga com1=115200,8n1")
}

/// The menu.
pub(crate) fn menu(id: &str, payload: &Payload) -> String {
    let Payload {
        fleet,
        release,
        xen_arguments,
        ..
    } = payload;
    let title = format!("Domus {release}, fleet {fleet}");
    let kernel = kernel_arguments(id);
    format!(
        "# Domus release {release} ({id})\n\
         serial --unit=0 --speed=115200\n\
         terminal_input console serial\n\
         terminal_output console serial\n\
         set timeout=2\n\
         menuentry '{title}' {{\n  \
           multiboot2 /BOOT/XEN.GZ {xen_arguments}\n  \
           module2 /BOOT/VMLINUZ {kernel}\n  \
           module2 --nounzip /BOOT/INITRD.IMG\n\
         }}\n\
         menuentry '{title}: rescue shell' {{\n  \
           multiboot2 /BOOT/XEN.GZ {xen_arguments}\n  \
           module2 /BOOT/VMLINUZ {kernel} domus.rescue=now\n  \
           module2 --nounzip /BOOT/INITRD.IMG\n\
         }}\n"
    )
}

/// Writes `BIOS.IMG` and `EFI.IMG` to `boot`, both looking for the ISO with the UUID `uuid`.
pub(crate) fn images(tools: &ToolRoot, uuid: &str, boot: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let early = scratch.path().join("early.cfg");
    let script =
        format!("search --no-floppy --fs-uuid --set=root {uuid}\nconfigfile /BOOT/GRUB.CFG\n");
    fs::write(&early, script).context("writing GRUB's first script")?;
    image(
        tools,
        "i386-pc",
        "i386-pc-eltorito",
        BIOS,
        &early,
        &boot.join("BIOS.IMG"),
    )?;
    let efi = scratch.path().join("BOOTX64.EFI");
    image(tools, "x86_64-efi", "x86_64-efi", EFI, &early, &efi)?;
    efi_partition(tools, &efi, &boot.join("EFI.IMG"))
}

fn image(
    tools: &ToolRoot,
    directory: &str,
    format: &str,
    modules: &[&str],
    early: &Path,
    to: &Path,
) -> Result<()> {
    tools
        .program("grub-mkimage")?
        .args(["-O", format, "-p", "/BOOT", "-d"])
        .arg(tools.path("usr/lib/grub").join(directory))
        .arg("-c")
        .arg(early)
        .arg("-o")
        .arg(to)
        .args(COMMON.iter().chain(modules))
        .run()
        .with_context(|| format!("making GRUB's image for {format}"))
}

/// A FAT image with GRUB where UEFI looks for it on removable media.
fn efi_partition(tools: &ToolRoot, efi: &Path, to: &Path) -> Result<()> {
    let run = |name: &str, arguments: &[&str], paths: &[&Path]| {
        let program = tools
            .program(name)?
            .args(arguments)
            .arg("-i")
            .arg(to)
            .args(paths);
        program
            .env("TZ", "UTC")
            .run()
            .with_context(|| format!("making {}", to.display()))
    };
    let size = EFI_KIB.to_string();
    run(
        "mformat",
        &["-C", "-f", &size, "-N", "444f4d55"],
        &[Path::new("::")],
    )?;
    run("mmd", &[], &[Path::new("::/EFI"), Path::new("::/EFI/BOOT")])?;
    // Without -m mcopy takes the time from SOURCE_DATE_EPOCH, as the others do.
    run("mcopy", &[], &[efi, Path::new("::/EFI/BOOT/BOOTX64.EFI")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use domus_model::verity::Verity;

    #[test]
    fn the_menu_boots_exactly_this_release() {
        let payload = Payload {
            fleet: "example".parse().expect("name"),
            release: "2026.11".into(),
            unsigned: true,
            suite: "trixie".into(),
            xen_arguments: xen_arguments("1GiB".parse().expect("size")),
            parts: std::collections::BTreeMap::new(),
            root: Verity {
                root_hash: "ab".into(),
                salt: "cd".into(),
                blocks: 1,
            },
            secure_boot: None,
        };
        assert_eq!(
            menu("3f9a", &payload),
            include_str!("../tests/golden/GRUB.CFG")
        );
    }
}
