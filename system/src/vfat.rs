// SPDX-License-Identifier: GPL-3.0-or-later
//! A FAT file system in memory: the disk from which guests of others read their configuration.

use std::io::{Cursor, Write};

use anyhow::{Context, Result, ensure};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

/// The size of a file system is a multiple of that, in bytes.
const STEP: u64 = 1 << 20;
/// Room for its tables and for what is lost at the end of each file.
const ROOM: u64 = 1 << 20;

/// A file system with these files in its root directory, and the `label`, of at most 11 capital letters. The same
/// files give the same bytes.
///
/// # Errors
/// The label is too long, or the library refuses.
pub fn image<'f>(
    label: &str,
    files: impl IntoIterator<Item = (&'f str, &'f [u8])>,
) -> Result<Vec<u8>> {
    ensure!(label.len() <= 11, "{label} is too long for a label");
    let files: Vec<(&str, &[u8])> = files.into_iter().collect();
    let content: u64 = files.iter().map(|(_, content)| content.len() as u64).sum();
    let size = (content + ROOM).next_multiple_of(STEP);
    let mut disk = Cursor::new(vec![0; usize::try_from(size)?]);
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    let options = FormatVolumeOptions::new().volume_label(padded).volume_id(0);
    fatfs::format_volume(&mut disk, options).context("making a FAT file system")?;
    let system =
        FileSystem::new(&mut disk, FsOptions::new()).context("opening a FAT file system")?;
    for (name, content) in files {
        let file = system.root_dir().create_file(name);
        file.and_then(|mut file| file.write_all(content))
            .with_context(|| format!("writing {name}"))?;
    }
    system.unmount().context("ending a FAT file system")?;
    Ok(disk.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn blkid_finds_it_by_its_label_and_it_is_the_same_each_time() {
        let large = vec![7; 3 << 20];
        let files = [("user-data", &large[..]), ("meta-data", b"{}\n")];
        let made = image("CIDATA", files).expect("an image");
        assert_eq!(made, image("CIDATA", files).expect("an image"));
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("seed.img");
        std::fs::write(&path, &made).expect("write");
        let blkid = Command::new("blkid")
            .args(["-p", "-o", "export"])
            .arg(&path)
            .output();
        let said = String::from_utf8(blkid.expect("blkid").stdout).expect("text");
        for line in ["LABEL=CIDATA", "TYPE=vfat"] {
            assert!(said.lines().any(|it| it == line), "{line}: {said}");
        }
        let mut disk = Cursor::new(made);
        let system = FileSystem::new(&mut disk, FsOptions::new()).expect("open");
        let names = system
            .root_dir()
            .iter()
            .map(|it| it.expect("an entry").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["user-data", "meta-data"]);
    }
}
