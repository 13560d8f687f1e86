// SPDX-License-Identifier: GPL-3.0-or-later
//! The repair of a config partition, with the release's own e2fsck(8).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use domus_system::block;
use domus_system::mount::Mounted;
use domus_system::program::Program;

use crate::rescue::BUSYBOX;

/// e2fsck(8): errors were corrected.
const CORRECTED: i32 = 1;

/// Gives an ext4 its first superblock back from a copy of it, and makes right what that copy does
/// not know. Whatever nobody could decide but a person is an error. Returns what was done.
pub(crate) fn superblock(root: &Path, device: &Path) -> Result<String> {
    let shown = device.display();
    let doing = || format!("repairing the superblock of {shown}");
    let found = block::from_copy(device).with_context(doing)?;
    let copy = found.and_then(|found| found.copy).with_context(doing)?;
    ensure!(
        !block::is_read_only(device),
        "domus: the superblock of {shown} is damaged, and its disk is write-protected"
    );
    let dev = Mounted::bound(Path::new("/dev"), &root.join("dev")).with_context(doing)?;
    let (block, size) = (copy.block.to_string(), copy.block_size.to_string());
    Program::new(BUSYBOX)
        .arg("chroot")
        .arg(root)
        .args(["/usr/sbin/e2fsck", "-p", "-b", &block, "-B", &size])
        .arg(device)
        .answer(&[CORRECTED])
        .with_context(|| {
            format!(
                "domus: {}, which fits this machine; \
                 `e2fsck -b {block} -B {size} {shown}` asks about each error",
                doing()
            )
        })?;
    drop(dev);
    Ok(format!(
        "the superblock of {shown} was damaged and is repaired from its copy in block {block}; \
         its disk may be failing"
    ))
}
