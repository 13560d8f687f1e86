// SPDX-License-Identifier: GPL-3.0-or-later
//! The id of a partition, as the kernel and `blkid` call it (PARTUUID): from the partition table,
//! because the kernel tells nobody.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use uuid::Uuid;

use super::Device;

/// The sector of a GPT's header. All numbers of a GPT are little-endian; UEFI specification 5.3.
const HEADER: u64 = 1;

/// The id of the partition `device`: the GUID of its entry in a GPT, or the signature of the MBR
/// and its number. `None` if it is no partition, or of another kind of table.
///
/// # Errors
/// The disk cannot be read.
pub fn partition_id(device: &Device) -> Result<Option<String>> {
    let Some(name) = device.path.file_name().filter(|_| device.partition) else {
        return Ok(None);
    };
    let class = Path::new("/sys/class/block").join(name);
    let number =
        |path: &Path| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    // `/sys/class/block/sda2` is a link to a directory in that of `sda`.
    let own = class
        .canonicalize()
        .context("looking for a partition's disk")?;
    let disk = own.parent().unwrap_or(&own);
    let path = Path::new("/dev").join(disk.file_name().unwrap_or_default());
    let sector = number(&disk.join("queue/logical_block_size")).unwrap_or(512);
    let Some(partition) = number(&class.join("partition")) else {
        return Ok(None);
    };
    let file = File::open(&path).with_context(|| format!("reading {}", path.display()))?;
    let read = |offset: u64, length: usize| {
        let mut bytes = vec![0; length];
        let doing = || format!("reading the partition table of {}", path.display());
        file.read_exact_at(&mut bytes, offset).with_context(doing)?;
        Ok(bytes)
    };
    id(read, sector, partition)
}

/// The id of the partition with this number, by what `read` gives of the disk.
fn id(
    read: impl Fn(u64, usize) -> Result<Vec<u8>>,
    sector: u64,
    partition: u64,
) -> Result<Option<String>> {
    let header = read(HEADER * sector, 92)?;
    if header.starts_with(b"EFI PART") {
        let entries = u64::from_le_bytes(super::bytes(&header, 72));
        let length = u64::from(u32::from_le_bytes(super::bytes(&header, 84)));
        let offset = (partition - 1).checked_mul(length);
        let offset = offset.and_then(|offset| entries.checked_mul(sector)?.checked_add(offset));
        let Some(offset) = offset else {
            return Ok(None);
        };
        let guid = Uuid::from_bytes_le(super::bytes(&read(offset, 32)?, 16));
        return Ok(Some(guid.to_string()));
    }
    let mbr = read(0, 512)?;
    let signature = u32::from_le_bytes(super::bytes(&mbr, 440));
    let is_mbr = mbr.ends_with(&[0x55, 0xaa]);
    Ok(is_mbr.then(|| format!("{signature:08x}-{partition:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// What sfdisk makes of this script on an empty disk of 32 MiB.
    fn disk(script: &str) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(32 << 20).expect("a size");
        let mut sfdisk = Command::new("sfdisk")
            .arg("--quiet")
            .arg(file.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("sfdisk (apt-get install fdisk)");
        let mut input = sfdisk.stdin.take().expect("its input");
        input.write_all(script.as_bytes()).expect("a script");
        drop(input);
        assert!(sfdisk.wait().expect("sfdisk").success(), "{script}");
        fs::read(file.path()).expect("a disk")
    }

    fn id_on(disk: &[u8], partition: u64) -> Option<String> {
        let read = |offset: u64, length: usize| {
            let offset = usize::try_from(offset)?;
            let bytes = disk.get(offset..offset + length);
            bytes.map(<[u8]>::to_vec).context("beyond the end")
        };
        id(read, 512, partition).expect("an id")
    }

    #[test]
    fn a_partition_of_a_gpt_has_its_guid() {
        let disk = disk(
            "label: gpt\nsize=1MiB\n\
             size=2MiB, uuid=6F0B6CF2-1C74-4F7E-9D0A-0A1F5A7E0001\n",
        );
        let id = id_on(&disk, 2);
        assert_eq!(id.as_deref(), Some("6f0b6cf2-1c74-4f7e-9d0a-0a1f5a7e0001"));
    }

    #[test]
    fn a_partition_of_an_mbr_has_its_signature_and_number() {
        let disk = disk("label: dos\nlabel-id: 0xAB54D286\nsize=4MiB, type=5\nsize=1MiB\n");
        assert_eq!(id_on(&disk, 5).as_deref(), Some("ab54d286-05"));
    }

    #[test]
    fn a_table_that_lies_names_nothing_and_is_not_followed() {
        let mut disk = disk("label: gpt\nsize=1MiB\n");
        disk[512 + 72..512 + 80].fill(0xff);
        assert_eq!(id_on(&disk, 1), None);
        assert_eq!(id_on(&[0; 4096], 1), None);
    }
}
