// SPDX-License-Identifier: GPL-3.0-or-later
//! Images on this host: a directory with a manifest, root, kernel and initramfs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_model::lock::Sha256;
use domus_model::manifest::{IMAGE_MANIFEST, INITRD, ImageManifest, KERNEL, ROOT};
use domus_model::names::ImageRef;
use domus_system::digest;

use crate::paths::Paths;
use crate::verified::ensure_verified;

/// An image that is all there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) root: PathBuf,
    /// None if a foreign one boots by itself.
    pub(crate) kernel: Option<PathBuf>,
    /// Foreign kernels may need none.
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) foreign: bool,
}

impl Image {
    /// Finds an image and makes sure that it is whole: by the sizes of its files, and if the commit
    /// has `locked` its name, by their digests, too.
    ///
    /// # Errors
    /// It is not there or another, or something of it is missing or not what its manifest says.
    pub(crate) fn find(paths: &Paths, image: &ImageRef, locked: Option<&Sha256>) -> Result<Self> {
        let dir = paths.image(image);
        let (text, manifest) = read(&dir.join(IMAGE_MANIFEST)).with_context(|| {
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
        if let Some(locked) = locked {
            ensure_locked(image, &text, locked, &dir)?;
        }
        let file = |name| whole(&dir, &manifest, name);
        let found = || -> Result<Self> {
            let foreign = manifest.foreign;
            let boots = |name| match foreign && !manifest.files.contains_key(name) {
                true => Ok(None),
                false => file(name).map(Some),
            };
            let (root, kernel, initrd) = (file(ROOT)?, boots(KERNEL)?, boots(INITRD)?);
            if locked.is_some() {
                let files = [Some(&root), kernel.as_ref(), initrd.as_ref()];
                let files: Vec<_> = files.into_iter().flatten().cloned().collect();
                ensure_verified(&paths.verified(image), &files)?;
            }
            let path = |(path, _)| path;
            Ok(Self {
                root: root.0,
                kernel: kernel.map(path),
                initrd: initrd.map(path),
                foreign,
            })
        };
        found().with_context(|| format!("image {image} is damaged: copy it to this host again"))
    }
}

/// Makes sure that the manifest is the one that the commit means.
fn ensure_locked(image: &ImageRef, manifest: &[u8], locked: &Sha256, dir: &Path) -> Result<()> {
    let found = Sha256::from_hex(&digest::of_bytes(manifest))?;
    ensure!(
        found == *locked,
        "image {image} on this host is another than the commit means: {}/{IMAGE_MANIFEST} is \
         {found}, domus.lock says {locked}; copy the image that was built for this commit to this \
         host, or commit the domus.lock that `domus image build {}` wrote for the one here",
        dir.display(),
        image.name
    );
    Ok(())
}

/// The manifest, and the bytes that it was read from.
fn read(path: &Path) -> Result<(Vec<u8>, ImageManifest)> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let manifest: ImageManifest =
        serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let version = manifest.version;
    ensure!(
        version == 1,
        "{}: has version {version}, this release knows 1",
        path.display()
    );
    Ok((text, manifest))
}

/// A file of the image that has its size, and the digest that it should have.
fn whole<'m>(dir: &Path, manifest: &'m ImageManifest, name: &str) -> Result<(PathBuf, &'m str)> {
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
    Ok((path, &entry.sha256))
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
                    sha256: digest::of_bytes(name),
                },
            );
        }
        let manifest = ImageManifest {
            version: 1,
            image: image(of),
            suite: "trixie".into(),
            inputs: "0".into(),
            foreign: false,
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
                Image::find(&paths, &image("base@1"), None).expect_err("refused")
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
        let found = Image::find(&paths, &image("base@1"), None).expect("whole");
        assert_eq!(found.kernel, Some(there.join("vmlinux")));

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

    #[test]
    fn a_locked_image_is_the_one_that_the_commit_means() {
        let dir = tempfile::tempdir().expect("dir");
        let paths = Paths::below(dir.path());
        let there = dir.path().join("config/images/base@1");
        fs::create_dir_all(&there).expect("mkdir");
        write(&there, "base@1");
        let manifest = digest::of_file(&there.join(IMAGE_MANIFEST)).expect("a digest");
        let right = Sha256::from_hex(&manifest).expect("a digest");
        let other = Sha256::from_hex(&"0".repeat(64)).expect("a digest");
        let find = |locked| Image::find(&paths, &image("base@1"), Some(locked));
        find(&right).expect("whole");
        let refused = format!("{:#}", find(&other).expect_err("another"));
        for part in [right.to_string(), other.to_string()] {
            assert!(refused.contains(&part), "{refused}");
        }
        assert!(refused.contains("`domus image build base`"), "{refused}");

        // Another content of the same size is seen only where digests count.
        fs::write(there.join(ROOT), "ROOT.img").expect("write");
        Image::find(&paths, &image("base@1"), None).expect("by size");
        let refused = format!("{:#}", find(&right).expect_err("damaged"));
        assert!(refused.contains("is damaged"), "{refused}");
        assert!(refused.contains("root.img has the SHA-256"), "{refused}");
    }
}
