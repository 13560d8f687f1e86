// SPDX-License-Identifier: GPL-3.0-or-later
//! Putting an image together: each step is kept by the digest of its inputs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_build::cache::{Cache, Key};
use domus_build::files::{self, Added};
use domus_build::initramfs::Initramfs;
use domus_build::programs::{Programs, Shipped};
use domus_build::progress::{Progress, step};
use domus_build::roottar::{self, RootTar};
use domus_build::toolroot::ToolRoot;
use domus_build::{EPOCH, kernel, pack};
use domus_model::contents::EtcList;
use domus_model::fleet::{Debian, Recipe};
use domus_model::lock::Sha256;
use domus_model::manifest::{IMAGE_MANIFEST, INITRD, ImageManifest, KERNEL, ROOT};
use domus_model::names::ImageRef;
use domus_system::atomic::PendingDir;
use domus_system::digest;

use crate::foreign::Foreign;
use crate::recipe;

/// A built image, kept among the steps of builds.
#[derive(Debug, Clone)]
pub struct Built {
    kept: PathBuf,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// The digest of the manifest's file, by which the image is locked.
    pub digest: Sha256,
    /// What it has in `/etc`; nobody knows that of a foreign one.
    pub etc: Option<EtcList>,
}

/// Builds the image of `recipe`. `fleet_dir`: the repository, whose `images/` holds the recipe's
/// files.
///
/// # Errors
/// A step fails.
pub fn build(
    recipe: &Recipe,
    debian: &Debian,
    mirror: Option<&str>,
    fleet_dir: &Path,
    progress: &dyn Progress,
) -> Result<Built> {
    let cache = Cache::open()?;
    let image = ImageRef {
        name: recipe.name.clone(),
        revision: recipe.revision,
    };
    if let Some(disk) = &recipe.foreign {
        let foreign = Foreign {
            image: &image,
            disk,
            fleet_dir,
            debian,
            mirror,
        };
        return Built::open(foreign.build(&cache, progress)?, None);
    }
    let programs = Programs::find()?;
    let boot = programs.get("domus-boot")?;
    let mirror_used = mirror.or(debian.mirror.as_deref());
    let tools = ToolRoot::open(&cache, &debian.suite, mirror_used, progress)?;

    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let files = recipe_files(recipe, fleet_dir, scratch.path())?;
    let bootstrap = recipe::bootstrap(recipe, debian, mirror, files);
    let tar = bootstrap.tar(&cache, progress, &format!("image {image}"))?;
    let added = recipe::added(&image, &boot);
    let key = Key::new([
        ("image", image.to_string().as_str()),
        ("tree", tar.digest.as_str()),
        ("added", &files::digest(&added)),
        ("tools", tools.key()),
        ("selection", &recipe::SELECTION.digest()),
        ("pack", &pack::options()),
        ("epoch", EPOCH),
    ]);
    let kept = cache.step("images", &key, |out| {
        let tree = RootTar::open(&tar.path)?;
        let made = Assembly {
            tree: &tree,
            added: &added,
            boot: &boot,
            tools: &tools,
            progress,
        };
        made.write(&image, &bootstrap.suite, &key, out)
    })?;
    let tree = RootTar::open(&tar.path)?;
    let chosen = recipe::SELECTION.of(&tree)?;
    Built::open(kept, Some(pack::etc(&tree, &chosen, &added)))
}

/// What an image is assembled from.
struct Assembly<'a> {
    tree: &'a RootTar,
    added: &'a [Added],
    boot: &'a Shipped,
    tools: &'a ToolRoot,
    progress: &'a dyn Progress,
}

impl Assembly<'_> {
    fn write(&self, image: &ImageRef, suite: &str, key: &Key, out: &Path) -> Result<()> {
        step(
            self.progress,
            &format!("image {image}: kernel, initramfs"),
            || self.boot_files(out),
        )?;
        step(
            self.progress,
            &format!("image {image}: read-only root"),
            || self.root(out),
        )?;
        let mut files = std::collections::BTreeMap::new();
        for name in [ROOT, KERNEL, INITRD] {
            files.insert(name.to_owned(), pack::entry(&out.join(name))?);
        }
        let manifest = ImageManifest {
            version: 1,
            image: image.clone(),
            suite: suite.to_owned(),
            inputs: key.as_str().to_owned(),
            foreign: false,
            files,
            packages: pack::packages(self.tree, &recipe::SELECTION.of(self.tree)?)?,
        };
        fs::write(
            out.join(IMAGE_MANIFEST),
            serde_json::to_vec_pretty(&manifest)?,
        )
        .context("writing the manifest")
    }

    fn boot_files(&self, out: &Path) -> Result<()> {
        let kernel = self.tree.read(self.tree.only("boot/vmlinuz-")?)?;
        let kernel = kernel::elf(self.tools, kernel)?;
        fs::write(out.join(KERNEL), kernel).context("writing the kernel")?;
        let mut initramfs = Initramfs::default();
        initramfs.console();
        initramfs.file("init", 0o755, &fs::read(&self.boot.path)?);
        // What Linux runs when dom0 asks it to shut down.
        initramfs.link("sbin/poweroff", "/init");
        initramfs.modules(self.tree, &recipe::MODULES)?;
        fs::write(out.join(INITRD), initramfs.finish()?).context("writing the initramfs")
    }

    fn root(&self, out: &Path) -> Result<()> {
        let tar = out.join("root.tar");
        let chosen = recipe::SELECTION.of(self.tree)?;
        self.tree.rewrite(&tar, &chosen, self.added)?;
        pack::pack(self.tools, &tar, &out.join(ROOT))?;
        fs::remove_file(&tar).context("removing the temporary archive")
    }
}

/// The recipe's directory of files as an archive, with its digest.
fn recipe_files(
    recipe: &Recipe,
    fleet_dir: &Path,
    scratch: &Path,
) -> Result<Option<(PathBuf, String)>> {
    let Some(dir) = &recipe.files else {
        return Ok(None);
    };
    let dir = fleet_dir.join("images").join(dir);
    let added = files::from_directory(&dir)
        .with_context(|| format!("reading the files of images/{}.toml", recipe.name))?;
    let archive = scratch.join("files.tar");
    roottar::write(&archive, &added)?;
    let digest = digest::of_file(&archive)?;
    Ok(Some((archive, digest)))
}

impl Built {
    fn open(kept: PathBuf, etc: Option<EtcList>) -> Result<Self> {
        let text = fs::read(kept.join(IMAGE_MANIFEST)).context("reading the kept manifest")?;
        Ok(Self {
            manifest: serde_json::from_slice(&text).context("reading the manifest")?,
            digest: Sha256::from_hex(&digest::of_bytes(&text))?,
            etc,
            kept,
        })
    }

    /// Copies it to the directory `to`, which is replaced as a whole unless exactly it is there
    /// already; whether it was.
    ///
    /// # Errors
    /// The disk is full; `to` is then as it was.
    pub fn deliver(&self, to: &Path) -> Result<bool> {
        let (kept, files) = (&self.kept, &self.manifest.files);
        let whole = files.iter().all(|(name, entry)| {
            to.join(name)
                .metadata()
                .is_ok_and(|meta| meta.len() == entry.size)
        });
        let old = digest::of_file(&to.join(IMAGE_MANIFEST));
        if whole && old.is_ok_and(|old| old == self.digest.hex()) {
            return Ok(true);
        }
        let pending = PendingDir::new(to)?;
        for name in files.keys().map(String::as_str).chain([IMAGE_MANIFEST]) {
            let (from, into) = (kept.join(name), pending.path().join(name));
            fs::copy(&from, &into)
                .with_context(|| format!("writing {}", to.join(name).display()))?;
        }
        pending.commit()?;
        Ok(false)
    }
}
