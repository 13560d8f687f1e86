// SPDX-License-Identifier: GPL-3.0-or-later
//! Images on this host: a directory with a manifest, root, kernel and initramfs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_model::manifest::{IMAGE_MANIFEST, INITRD, ImageManifest, KERNEL, ROOT};
use domus_model::names::ImageRef;

use crate::paths::Paths;

/// An image that is all there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) root: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
}

impl Image {
    /// Finds an image and makes sure that it is whole, by the sizes of its files: reading them to
    /// compare digests would take longer than starting the domU.
    ///
    /// # Errors
    /// It is not there, or something of it is missing or has another size.
    pub(crate) fn find(paths: &Paths, image: &ImageRef) -> Result<Self> {
        let dir = paths.image(image);
        let manifest = read(&dir.join(IMAGE_MANIFEST)).with_context(|| {
            let from = format!("`domus image build {}`", image.name);
            let dir = dir.display();
            format!("image {image} is not on this host (copy what {from} made to {dir}/)")
        })?;
        let is = &manifest.image;
        ensure!(
            is == image,
            "{}/ holds the image {is}, not {image}",
            dir.display()
        );
        let file = |name| whole(&dir, &manifest, name);
        let found = || -> Result<Self> {
            Ok(Self {
                root: file(ROOT)?,
                kernel: file(KERNEL)?,
                initrd: file(INITRD)?,
            })
        };
        found().with_context(|| format!("image {image} is damaged: copy it to this host again"))
    }
}

fn read(path: &Path) -> Result<ImageManifest> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let manifest: ImageManifest =
        serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let version = manifest.version;
    ensure!(
        version == 1,
        "{}: has version {version}, this release knows 1",
        path.display()
    );
    Ok(manifest)
}

fn whole(dir: &Path, manifest: &ImageManifest, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    let entry = manifest
        .files
        .get(name)
        .with_context(|| format!("its manifest has no {name}"))?;
    let size = fs::metadata(&path)
        .with_context(|| path.display().to_string())?
        .len();
    let wanted = entry.size;
    ensure!(
        size == wanted,
        "{} has {size} bytes instead of {wanted}",
        path.display()
    );
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domus_model::manifest::FileEntry;

    fn image(text: &str) -> ImageRef {
        text.parse().expect("image")
    }

    fn write(dir: &Path, of: &str) {
        let mut files = std::collections::BTreeMap::new();
        for name in [ROOT, KERNEL, INITRD] {
            fs::write(dir.join(name), name).expect("write");
            files.insert(
                name.into(),
                FileEntry {
                    size: name.len() as u64,
                    sha256: "0".into(),
                },
            );
        }
        let manifest = ImageManifest {
            version: 1,
            image: image(of),
            suite: "trixie".into(),
            inputs: "0".into(),
            files,
            packages: std::collections::BTreeMap::new(),
        };
        let text = serde_json::to_string(&manifest).expect("json");
        fs::write(dir.join(IMAGE_MANIFEST), text).expect("write");
    }

    #[test]
    fn an_image_is_taken_whole_or_refused_with_the_reason() {
        let dir = tempfile::tempdir().expect("dir");
        let paths = Paths::below(dir.path());
        let refusal = || {
            format!(
                "{:#}",
                Image::find(&paths, &image("base@1")).expect_err("refused")
            )
        };
        let missing = refusal();
        assert!(
            missing.starts_with("image base@1 is not on this host (copy"),
            "{missing}"
        );
        let there = dir.path().join("config/images/base@1");
        let end = format!(
            "{}/manifest.json: No such file or directory (os error 2)",
            there.display()
        );
        assert!(missing.ends_with(&end), "{missing}");

        fs::create_dir_all(&there).expect("mkdir");
        write(&there, "base@1");
        let found = Image::find(&paths, &image("base@1")).expect("whole");
        assert_eq!(found.kernel, there.join("vmlinux"));

        fs::write(there.join(ROOT), "short").expect("write");
        assert!(
            refusal().ends_with("root.img has 5 bytes instead of 8"),
            "{}",
            refusal()
        );
        fs::remove_file(there.join(ROOT)).expect("rm");
        assert!(refusal().contains("is damaged") && refusal().contains("root.img: No such file"));

        write(&there, "base@2");
        assert!(
            refusal().ends_with("holds the image base@2, not base@1"),
            "{}",
            refusal()
        );
    }
}
