// SPDX-License-Identifier: GPL-3.0-or-later
//! GRUB: its menu, and the images that firmware starts. All modules are inside the images, so
//! that everything on the ISO is a file of the manifest.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use domus_build::toolroot::ToolRoot;
use domus_model::fleet::SerialConsole;
use domus_model::manifest::Payload;
use domus_system::digest;

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
/// What chooses between signed images has no more than that takes.
const CHOOSER: &[&str] = &[
    "bli",
    "chain",
    "echo",
    "fat",
    "gcry_rsa",
    "gcry_sha1",
    "gcry_sha256",
    "memdisk",
    "normal",
    "part_gpt",
    "pgp",
    "reboot",
    "serial",
    "sleep",
    "tar",
    "terminal",
    "test",
];

/// Bytes of the menu, of which the longest takes a third.
const MENU_BYTES: usize = 2048;

/// What the script of a medium adds to them: nothing on a CD, or on a stick with this ISO alone.
const SLOT: &str = "$domus_slot $domus_try";
/// The serial port of what is not the medium of one host.
const ANY_HOST: &str = "if [ -z \"$domus_com\" ]; then ";
/// GRUB shows what it does there, too.
const SERIAL: &str = "serial --unit=$domus_unit --speed=$domus_speed\n\
     terminal_input console serial\n\
     terminal_output console serial\n";

/// Kernel arguments of dom0. The console goes to Xen, and so to the serial port. A kernel that panics
/// starts the machine again: nobody stands beside it.
pub(crate) fn kernel_arguments(id: &str) -> String {
    format!(
        "domus.release={id} console=tty0 console=hvc0 loglevel=6 panic=10 \
         systemd.condition_needs_update=no"
    )
}

/// Xen's arguments for a release whose dom0 gets at most `ceiling`.
pub(crate) fn xen_arguments(ceiling: domus_model::units::Size) -> String {
    let mib = ceiling.mib();
    // Microcode is in the initramfs, where the release has any.
    format!("dom0_mem={mib}M,max:{mib}M ucode=scan")
}

/// Xen's arguments for this serial port and the screen.
pub(crate) fn xen_console(port: &str, speed: impl Display) -> String {
    format!("console={port},vga {port}={speed},8n1")
}

/// Sets the variables that a menu takes the serial port from.
fn set_console(console: SerialConsole) -> String {
    let (port, unit, speed) = (console.port(), console.unit(), console.speed());
    format!("set domus_com={port}; set domus_unit={unit}; set domus_speed={speed}")
}

/// How the script of a medium begins whose host has this console.
pub(crate) fn begin(console: SerialConsole) -> String {
    let set = set_console(console);
    format!("{set}\nexport domus_com domus_unit domus_speed\n{SERIAL}")
}

/// Where GRUB finds what it loads, beside Xen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// A file of the ISO, or a list of blocks of it.
    pub(crate) kernel: String,
    /// The same.
    pub(crate) initramfs: String,
}

impl Places {
    /// Files of the ISO.
    pub(crate) fn files() -> Self {
        Self {
            kernel: "/BOOT/VMLINUZ".into(),
            initramfs: "/BOOT/INITRD.IMG".into(),
        }
    }
}

/// The digest of the menu of a release whose id is not known yet, for it follows from this too.
pub(crate) fn menu_digest(payload: &Payload) -> String {
    digest::of_bytes(entry("", payload, &Places::files()).trim_end_matches('\n'))
}

/// What GRUB's images are made of, besides GRUB.
pub(crate) fn options() -> String {
    format!("{COMMON:?} {BIOS:?} {EFI:?} {}", script("UUID"))
}

/// What an image does first: it looks for the ISO with this UUID.
fn script(uuid: &str) -> String {
    format!("search --no-floppy --fs-uuid --set=root {uuid}\nconfigfile /BOOT/GRUB.CFG\n")
}

/// The menu. It always has the same length, whatever the places are: they depend on it.
pub(crate) fn menu(id: &str, payload: &Payload, places: &Places) -> String {
    let mut text = entry(id, payload, places);
    let missing = MENU_BYTES.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('\n', missing));
    text
}

fn entry(id: &str, payload: &Payload, places: &Places) -> String {
    let Payload {
        fleet,
        release,
        xen_arguments,
        ..
    } = payload;
    let title = format!("Domus {release}, fleet {fleet}");
    let kernel = kernel_arguments(id);
    let xen = format!(
        "{xen_arguments} {}",
        xen_console("$domus_com", "$domus_speed")
    );
    let set = set_console(SerialConsole::default());
    let Places {
        kernel: kernel_file,
        initramfs,
    } = places;
    // Somebody who does not exist may edit lines and type commands: nobody.
    let (lock, free) = match payload.secure_boot {
        Some(_) => ("set superusers=nobody\n", "--unrestricted "),
        None => ("", ""),
    };
    format!(
        "# Domus release {release} ({id})\n\
         {ANY_HOST}{set}; fi\n\
         {SERIAL}\
         set timeout=2\n\
         {lock}menuentry '{title}' {free}{{\n  \
           multiboot2 /BOOT/XEN.GZ {xen}\n  \
           module2 {kernel_file} {kernel} {SLOT}\n  \
           module2 --nounzip {initramfs}\n\
         }}\n\
         menuentry '{title}: rescue shell' {free}{{\n  \
           multiboot2 /BOOT/XEN.GZ {xen}\n  \
           module2 {kernel_file} {kernel} domus.rescue=now {SLOT}\n  \
           module2 --nounzip {initramfs}\n\
         }}\n"
    )
}

/// What starts GRUB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// A BIOS, from a CD or from where the boot sector of a stick says.
    Bios,
    /// A BIOS, from a partition of its own.
    BiosPartition,
    /// UEFI.
    Uefi,
    /// UEFI that checks signatures: it chooses, and starts what is signed.
    Chooser,
}

/// Writes the image `to` that looks for the ISO with the UUID `uuid`.
pub(crate) fn image(tools: &ToolRoot, what: For, uuid: &str, to: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let early = scratch.path().join("early.cfg");
    fs::write(&early, script(uuid)).context("writing GRUB's first script")?;
    let options = ["-p", "/BOOT", "-c"].map(OsStr::new);
    make(
        tools,
        what,
        &[&options[..], &[early.as_os_str()]].concat(),
        to,
    )
}

/// Writes an image with all modules to `to`; `options` say what it begins with.
pub(crate) fn make(tools: &ToolRoot, what: For, options: &[&OsStr], to: &Path) -> Result<()> {
    let (directory, format, modules) = match what {
        For::Bios => ("i386-pc", "i386-pc-eltorito", [COMMON, BIOS].concat()),
        For::BiosPartition => ("i386-pc", "i386-pc", [COMMON, BIOS].concat()),
        For::Uefi => ("x86_64-efi", "x86_64-efi", [COMMON, EFI].concat()),
        For::Chooser => ("x86_64-efi", "x86_64-efi", CHOOSER.to_vec()),
    };
    tools
        .program("grub-mkimage")?
        .args(["-O", format, "-d"])
        .arg(tools.path("usr/lib/grub").join(directory))
        .args(options)
        .arg("-o")
        .arg(to)
        .args(modules)
        .run()
        .with_context(|| format!("making GRUB's image for {format}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use domus_model::verity::Verity;

    pub(crate) fn payload() -> Payload {
        Payload {
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
        }
    }

    #[test]
    fn the_menu_boots_exactly_this_release() {
        let golden = include_str!("../tests/golden/GRUB.CFG");
        let menu = menu("3f9a", &payload(), &Places::files());
        assert_eq!(menu.len(), MENU_BYTES);
        assert_eq!(menu.trim_end(), golden.trim_end());
    }

    #[test]
    fn the_menu_of_a_signed_release_is_locked() {
        let mut payload = payload();
        payload.secure_boot = Some("ab".into());
        let golden = include_str!("../tests/golden/GRUB-LOCKED.CFG");
        let places = Places {
            kernel: "($root)41+23772".into(),
            initramfs: "($root)30000+26196".into(),
        };
        assert_eq!(
            menu("3f9a", &payload, &places).trim_end(),
            golden.trim_end()
        );
    }
}
