// SPDX-License-Identifier: GPL-3.0-or-later
//! The hash tree of a root image, by which the kernel knows each block of it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_model::verity::{BLOCK, Verity};

use crate::toolroot::ToolRoot;

/// Appends the tree to the image at `path` and returns what proves it. `salt`: hexadecimal; the
/// same image with the same salt gets the same tree.
///
/// # Errors
/// veritysetup fails, or the image does not consist of whole blocks.
pub fn append(tools: &ToolRoot, path: &Path, salt: &str) -> Result<Verity> {
    let doing = || format!("making the hash tree of {}", path.display());
    let size = path.metadata().with_context(doing)?.len();
    ensure!(
        size > 0 && size.is_multiple_of(BLOCK),
        "{}: its size of {size} bytes is no multiple of {BLOCK}",
        doing()
    );
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let hash = scratch.path().join("root-hash");
    // The parameters come from the initramfs: a header beside the tree would be one more place
    // that says them, and one that nobody proves.
    tools
        .program("veritysetup")?
        .args(["format", "--no-superblock", "--hash=sha256"])
        .arg(format!("--salt={salt}"))
        .arg(format!("--data-block-size={BLOCK}"))
        .arg(format!("--hash-block-size={BLOCK}"))
        .arg(format!("--hash-offset={size}"))
        .arg("--root-hash-file")
        .arg(&hash)
        .args([path, path])
        .run()
        .with_context(doing)?;
    let root_hash = fs::read_to_string(&hash).with_context(doing)?;
    Ok(Verity {
        root_hash: root_hash.trim().to_owned(),
        salt: salt.to_owned(),
        blocks: size / BLOCK,
    })
}
