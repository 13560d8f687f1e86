// SPDX-License-Identifier: GPL-3.0-or-later
//! The unified image: Xen's EFI program with its configuration, kernel and initramfs in sections of
//! it, so that one signature covers all that is started and every argument. Names of the sections:
//! Xen, docs/misc/efi.pandoc.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use domus_build::roottar::RootTar;
use domus_build::toolroot::ToolRoot;
use domus_model::fleet::SerialConsole;
use domus_model::manifest::Payload;

use crate::grub::{kernel_arguments, xen_console};
use crate::signing::Signing;

const XEN: &str = "boot/xen-4.20-amd64.efi";
const PAGE: u64 = 4096;

/// What Xen reads in place of a `xen.cfg`.
fn configuration(id: &str, payload: &Payload) -> String {
    // It is signed for all hosts.
    let console = SerialConsole::default();
    let console = xen_console(&console.port(), console.speed());
    let (xen, kernel) = (&payload.xen_arguments, kernel_arguments(id));
    format!(
        "[global]\n\
         default=domus\n\
         \n\
         [domus]\n\
         options={xen} {console}\n\
         kernel=VMLINUZ {kernel}\n\
         ramdisk=INITRD.IMG\n"
    )
}

/// Writes the signed image of the release `id` to `to`; `boot` has its kernel and initramfs.
pub(crate) fn write(
    tools: &ToolRoot,
    tree: &RootTar,
    boot: &Path,
    (id, payload): (&str, &Payload),
    signing: &Signing,
    to: &Path,
) -> Result<()> {
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let at = |name: &str| scratch.path().join(name);
    let (xen, config, unsigned) = (at("xen.efi"), at("xen.cfg"), at("unified.efi"));
    let program = tree.read(XEN)?;
    fs::write(&xen, &program).context("writing Xen's EFI program")?;
    fs::write(&config, configuration(id, payload)).context("writing Xen's configuration")?;
    let mut address = end(&program).with_context(|| format!("reading {XEN}"))?;
    // By BIOS, GRUB reads kernel and initramfs from in here, in whole sectors.
    let mut objcopy = tools
        .program("objcopy")?
        .args(["--strip-debug", "--file-alignment", "512"]);
    let parts = [
        (".config", config),
        (".ramdisk", boot.join("INITRD.IMG")),
        (".kernel", boot.join("VMLINUZ")),
    ];
    for (section, file) in parts {
        let size = file
            .metadata()
            .context("reading a part of the image")?
            .len();
        objcopy = objcopy
            .arg("--add-section")
            .arg(format!("{section}={}", file.display()))
            .arg("--change-section-vma")
            .arg(format!("{section}={address:#x}"));
        address = (address + size).next_multiple_of(PAGE);
    }
    objcopy
        .args([&xen, &unsigned])
        .run()
        .context("joining Xen, kernel and initramfs")?;
    signing.sign(tools, &unsigned, to)
}

/// The first address behind a program, as the optional header of its PE format has it.
fn end(program: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(u32::from_le_bytes(*program.get(at..)?.first_chunk()?));
    let header = usize::try_from(word(0x3c)?).ok()?;
    if program.get(header..header + 4)? != b"PE\0\0" {
        return None;
    }
    let optional = header + 24;
    let base = u64::from_le_bytes(*program.get(optional + 24..)?.first_chunk()?);
    base.checked_add(u64::from(word(optional + 56)?))?
        .checked_next_multiple_of(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_stands_behind_the_program() {
        let mut program = vec![0; 0x200];
        program[0x3c] = 0x80;
        program[0x80..0x84].copy_from_slice(b"PE\0\0");
        program[0x80 + 48..0x80 + 56].copy_from_slice(&0xffff_82d0_4000_0000_u64.to_le_bytes());
        program[0x80 + 80..0x80 + 84].copy_from_slice(&0x00a0_0001_u32.to_le_bytes());
        assert_eq!(end(&program), Some(0xffff_82d0_40a0_1000));
        program[0x80] = b'N';
        assert_eq!(end(&program), None);
        assert_eq!(end(b"MZ"), None);
    }

    #[test]
    fn xen_is_told_what_grub_tells_it() {
        let mut payload = crate::grub::tests::payload();
        payload.secure_boot = Some("ab".into());
        let text = configuration("3f9a", &payload);
        assert_eq!(text, include_str!("../tests/golden/XEN.CFG"));
        let menu = crate::grub::menu("3f9a", &payload, &crate::grub::Places::files());
        let menu = menu
            .replace("$domus_com", "com1")
            .replace("$domus_speed", "115200");
        for line in ["options=", "kernel=VMLINUZ "] {
            let told = text.lines().find_map(|it| it.strip_prefix(line));
            let told = told.expect("a line");
            assert!(menu.contains(told), "{told}");
        }
    }
}
