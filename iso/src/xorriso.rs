// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing the hybrid ISO: El Torito for CD on BIOS and UEFI, an MBR and a GPT for sticks. The
//! options are those of grub-mkrescue, with everything that it takes from clock or chance given.

use std::path::Path;

use anyhow::{Context, Result};
use domus_build::EPOCH;
use domus_build::toolroot::ToolRoot;
use domus_model::manifest::{ReleaseManifest, publisher};

/// Volume identifier of every release; the volume set identifier is the release's own id.
const VOLUME: &str = "DOMUS";
/// Volume identifier of every seed.
const SEED: &str = "DOMUS-SEED";

/// Writes the tree `from` as the ISO `to` of a release.
pub(crate) fn write(
    tools: &ToolRoot,
    manifest: &ReleaseManifest,
    from: &Path,
    to: &Path,
) -> Result<()> {
    let id = &manifest.id;
    let publisher = publisher(manifest.payload.secure_boot.as_deref());
    tools
        .program("xorriso")?
        .args([
            "-no_rc",
            "-as",
            "mkisofs",
            "-quiet",
            "-iso-level",
            "3",
            "-r",
        ])
        .args(["-V", VOLUME, "-volset", id, "-appid", "DOMUS"])
        .args(["-publisher", &publisher])
        .arg(format!("--modification-date={}", uuid_digits(id)))
        .args(["--set_all_file_dates", &format!("={EPOCH}")])
        .args(["--sort-weight", "0", "/", "--sort-weight", "1", "/BOOT"])
        .args([
            "-b",
            "BOOT/BIOS.IMG",
            "-c",
            "BOOT/BOOT.CAT",
            "-no-emul-boot",
        ])
        .args([
            "-boot-load-size",
            "4",
            "-boot-info-table",
            "--grub2-boot-info",
            "--grub2-mbr",
        ])
        .arg(tools.path("usr/lib/grub/i386-pc/boot_hybrid.img"))
        .args([
            "--efi-boot",
            "BOOT/EFI.IMG",
            "-efi-boot-part",
            "--efi-boot-image",
        ])
        .arg("--protective-msdos-label")
        .arg("-o")
        .arg(to)
        .arg(from)
        .run()
        .with_context(|| format!("writing the ISO {}", to.display()))
}

/// Writes the tree `from` as the ISO `to` that boots nothing: a seed. Owners and modes are kept by
/// Rock Ridge, and its UUID is derived from `id`.
pub(crate) fn write_data(tools: &ToolRoot, id: &str, from: &Path, to: &Path) -> Result<()> {
    tools
        .program("xorriso")?
        .args(["-no_rc", "-as", "mkisofs", "-quiet", "-iso-level", "3"])
        .args(["-R", "-uid", "0", "-gid", "0"])
        .args(["-V", SEED, "-volset", id, "-appid", "DOMUS"])
        .arg(format!("--modification-date={}", uuid_digits(id)))
        .args(["--set_all_file_dates", &format!("={EPOCH}")])
        .arg("-o")
        .arg(to)
        .arg(from)
        .run()
        .with_context(|| format!("writing the ISO {}", to.display()))
}

/// The sixteen digits from which GRUB makes an ISO's UUID, a date in form only: derived from the
/// release's id, so that no other stick in the machine has the same.
fn uuid_digits(id: &str) -> String {
    let number = |start: usize, modulus: u64| {
        let part = id.get(start..start + 8).unwrap_or("0");
        u64::from_str_radix(part, 16).unwrap_or(0) % modulus
    };
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}{:02}",
        1980 + number(0, 100),
        1 + number(8, 12),
        1 + number(16, 28),
        number(24, 24),
        number(32, 60),
        number(40, 60),
        number(48, 100),
    )
}

/// The UUID by which GRUB finds the ISO of the release `id`.
pub(crate) fn grub_uuid(id: &str) -> String {
    let d = uuid_digits(id);
    let part = |from: usize, to: usize| &d[from..to];
    [
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14),
        part(14, 16),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_is_a_date_in_form_and_follows_the_id() {
        let id = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
        assert_eq!(uuid_digits(id).len(), 16);
        assert_eq!(grub_uuid(id).len(), 22);
        assert_ne!(grub_uuid(id), grub_uuid(&id.replace('f', "0")));
    }
}
