// SPDX-License-Identifier: GPL-3.0-or-later
//! An image that was made elsewhere: its disk as it is, and the kernel that starts it if it does not start itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_build::cache::{Cache, Key};
use domus_build::progress::{Progress, step};
use domus_build::toolroot::ToolRoot;
use domus_build::{EPOCH, kernel, pack};
use domus_model::fleet::{Debian, ForeignDisk};
use domus_model::manifest::{IMAGE_MANIFEST, INITRD, ImageManifest, KERNEL, ROOT};
use domus_model::names::ImageRef;
use domus_system::digest;

/// Formats that are no raw disk, by how they begin, and what people call them.
const OTHERS: [(&[u8], &str); 5] = [
    (b"QFI\xfb", "qcow2"),
    (b"KDMV", "vmdk"),
    (b"<<< ", "vdi"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"\x1f\x8b", "compressed by gzip"),
];
/// A sector: a disk has a whole number of them.
const SECTOR: u64 = 512;

/// Where it was made from. Relative to `images/`, as its recipe says.
pub(crate) struct Foreign<'f> {
    pub(crate) image: &'f ImageRef,
    pub(crate) disk: &'f ForeignDisk,
    pub(crate) fleet_dir: &'f Path,
    pub(crate) debian: &'f Debian,
    pub(crate) mirror: Option<&'f str>,
}

impl Foreign<'_> {
    /// Makes it, and returns where it is kept.
    pub(crate) fn build(&self, cache: &Cache, progress: &dyn Progress) -> Result<PathBuf> {
        let images = self.fleet_dir.join("images");
        let disk = images.join(&self.disk.disk);
        ensure_raw(&disk)?;
        let beside = |file: &Option<String>| file.as_ref().map(|file| images.join(file));
        let (kernel, initrd) = (beside(&self.disk.kernel), beside(&self.disk.initrd));
        let image = self.image.to_string();
        let digest =
            |path: Option<&PathBuf>| path.map_or(Ok(String::new()), |path| digest::of_file(path));
        let digests = step(
            progress,
            &format!("image {image}: reading its disk"),
            || {
                Ok([
                    digest(Some(&disk))?,
                    digest(kernel.as_ref())?,
                    digest(initrd.as_ref())?,
                ])
            },
        )?;
        let key = Key::new([
            ("image", image.as_str()),
            ("disk", &digests[0]),
            ("kernel", &digests[1]),
            ("initrd", &digests[2]),
            ("epoch", EPOCH),
        ]);
        cache.step("images", &key, |out| {
            step(
                progress,
                &format!("image {image}: copying its disk"),
                || {
                    fs::copy(&disk, out.join(ROOT))
                        .with_context(|| format!("copying {}", disk.display()))
                },
            )?;
            if let Some(kernel) = &kernel {
                let bytes =
                    fs::read(kernel).with_context(|| format!("reading {}", kernel.display()))?;
                fs::write(out.join(KERNEL), self.elf(cache, bytes, progress)?)
                    .context("writing the kernel")?;
            }
            if let Some(initrd) = &initrd {
                fs::copy(initrd, out.join(INITRD))
                    .with_context(|| format!("copying {}", initrd.display()))?;
            }
            self.manifest(&key, out)
        })
    }

    /// As Xen loads it. Only one that is compressed needs tools.
    fn elf(&self, cache: &Cache, bytes: Vec<u8>, progress: &dyn Progress) -> Result<Vec<u8>> {
        if kernel::is_elf(&bytes) {
            return Ok(bytes);
        }
        let mirror = self.mirror.or(self.debian.mirror.as_deref());
        kernel::elf(
            &ToolRoot::open(cache, &self.debian.suite, mirror, progress)?,
            bytes,
        )
    }

    fn manifest(&self, key: &Key, out: &Path) -> Result<()> {
        let mut files = BTreeMap::new();
        for name in [ROOT, KERNEL, INITRD] {
            if out.join(name).is_file() {
                files.insert(name.to_owned(), pack::entry(&out.join(name))?);
            }
        }
        let manifest = ImageManifest {
            version: 1,
            image: self.image.clone(),
            suite: String::new(),
            inputs: key.as_str().to_owned(),
            foreign: true,
            files,
            packages: BTreeMap::new(),
        };
        let text = serde_json::to_vec_pretty(&manifest)?;
        fs::write(out.join(IMAGE_MANIFEST), text).context("writing the manifest")
    }
}

/// Makes sure that a guest can be given the file as its disk.
fn ensure_raw(disk: &Path) -> Result<()> {
    let shown = disk.display();
    let doing = || format!("reading the disk {shown}: put it there, it is too large for git");
    let mut head = Vec::new();
    let file = File::open(disk).with_context(doing)?;
    file.take(SECTOR)
        .read_to_end(&mut head)
        .with_context(doing)?;
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        anyhow::bail!(
            "{shown} is {what}, no raw disk: `qemu-img convert -O raw` or the decompressor makes one of it"
        );
    }
    let size = disk.metadata().with_context(doing)?.len();
    ensure!(
        size > 0 && size.is_multiple_of(SECTOR),
        "{shown} has {size} bytes, which is no whole number of sectors of {SECTOR}: it was cut off, or is no raw disk"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_raw_disk_is_refused_with_what_it_is() {
        let dir = tempfile::tempdir().expect("dir");
        let disk = dir.path().join("disk.raw");
        let refused = || format!("{:#}", ensure_raw(&disk).expect_err("refused"));
        assert!(refused().contains("put it there"), "{}", refused());
        fs::write(&disk, [0; 1000]).expect("write");
        assert!(refused().contains("has 1000 bytes"), "{}", refused());
        fs::write(&disk, b"QFI\xfb and more").expect("write");
        assert!(refused().contains("is qcow2, no raw disk"), "{}", refused());
        fs::write(&disk, [0; 1024]).expect("write");
        ensure_raw(&disk).expect("a disk");
    }
}
