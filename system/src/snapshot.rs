// SPDX-License-Identifier: GPL-3.0-or-later
//! A block device that shows what another one holds and can be written to: what is written is kept on a third,
//! which device-mapper's snapshot target calls the exception store (Documentation/admin-guide/device-mapper/snapshot.rst
//! of Linux).

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::block::{self, Content};
use crate::mapper::{self, Table};

/// What the names of its devices begin with.
const PREFIX: &str = "domus-root-";
/// The target of device-mapper.
const TARGET: &str = "snapshot";
/// The magic number of a store, at its beginning (`SNAP_MAGIC` of dm-snap-persistent.c).
const MAGIC: [u8; 4] = *b"SnAp";
/// In sectors: 4 KiB, a page of the guest.
const CHUNK: u64 = 8;
/// What of a store is looked at, and zeroed to begin anew: its first chunk.
const HEAD: usize = 4096;

/// Makes a device for `name` that shows `origin` as it is. What is written to it goes to `store`, and what was
/// written there before is forgotten. Returns its path.
///
/// # Errors
/// `store` holds something else, which is left as it is; or the kernel refuses.
pub fn open(name: &str, origin: &Path, store: &Path) -> Result<PathBuf> {
    let doing = || format!("letting {name} write to {}", store.display());
    let device = format!("{PREFIX}{name}");
    // What an attempt left that was not finished. In use it stays, and the new one is refused.
    let _ = mapper::remove(&device);
    forget(store).with_context(doing)?;
    let size = File::open(origin).and_then(|mut file| file.seek(SeekFrom::End(0)));
    let size = size.with_context(|| format!("measuring {}", origin.display()))?;
    let (below, kept) = (mapper::number(origin)?, mapper::number(store)?);
    let table = Table {
        target: TARGET,
        sectors: size / 512,
        // An overflow is said to whoever reads the status.
        parameters: format!("{below} {kept} PO {CHUNK}"),
        read_only: false,
    };
    mapper::make(&device, &table).with_context(doing)
}

/// Whether what was written to the device of `name` has no more room in its store: since then the kernel refuses
/// what is new. Nothing if there is no such device, or that is none of these.
pub fn is_full(name: &str) -> Option<bool> {
    let status = mapper::status(&format!("{PREFIX}{name}")).ok()??;
    let (target, text) = status;
    (target == TARGET).then(|| refuses(&text))
}

/// Whether a snapshot that says this of itself takes nothing any more. Others say how much they hold.
fn refuses(status: &str) -> bool {
    matches!(status, "Overflow" | "Invalid")
}

/// Begins a store anew, if it is one, or nothing yet.
fn forget(store: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(store)?;
    let mut head = [0; HEAD];
    file.read_exact_at(&mut head, 0).context("reading it")?;
    if !head.starts_with(&MAGIC) {
        // Some file systems begin behind an empty page.
        let found = block::probe(store)?;
        ensure!(
            found == Content::Unknown && head == [0; HEAD],
            "it holds something that no root wrote ({}): it is left as it is; rename it and a new one is made, or \
             zero its beginning yourself",
            found.name()
        );
    }
    file.write_all_at(&[0; HEAD], 0)
        .context("zeroing its beginning")?;
    file.sync_all().context("zeroing its beginning")
}

/// Devices that [`open`] made, with those below them.
///
/// # Errors
/// They cannot be listed.
pub fn all() -> Result<Vec<Root>> {
    let all = mapper::all()?.into_iter();
    let roots = all.filter_map(|mapped| {
        let name = mapped.name.strip_prefix(PREFIX)?.to_owned();
        Some(Root {
            name,
            path: mapped.path,
            below: mapped.below,
        })
    });
    Ok(roots.collect())
}

/// A root that can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Whose it is.
    pub name: String,
    /// The device.
    pub path: PathBuf,
    /// The devices that it is made of.
    pub below: Vec<PathBuf>,
}

impl Root {
    /// Removes the device; what was written stays where it is until it is forgotten.
    ///
    /// # Errors
    /// It is in use.
    pub fn close(&self) -> Result<()> {
        mapper::remove(&format!("{PREFIX}{}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What `snapshot_status` of dm-snap.c writes.
    #[test]
    fn one_that_overflowed_refuses() {
        for (status, full) in [
            ("16/2097152 8", false),
            ("Overflow", true),
            ("Invalid", true),
            ("Unknown", false),
        ] {
            assert_eq!(refuses(status), full, "{status}");
        }
        assert_eq!(is_full("nobody"), None);
    }

    #[test]
    fn a_store_begins_anew_and_anything_else_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("dir");
        let store = dir.path().join("store");
        let mut used = vec![0; 1 << 20];
        used[..4].copy_from_slice(&MAGIC);
        used[HEAD] = 1;
        for content in [vec![0; 1 << 20], used] {
            fs::write(&store, &content).expect("write");
            forget(&store).expect("a store");
            let read = fs::read(&store).expect("read");
            assert_eq!(
                (&read[..HEAD], &read[HEAD..]),
                (&[0; HEAD][..], &content[HEAD..])
            );
        }
        // Something that nobody knows, and a btrfs, which leaves its first 64 KiB empty.
        for (offset, magic, name) in [
            (1080, &b"data"[..], "(-)"),
            (0x10040, b"_BHRfS_M", "(btrfs)"),
        ] {
            let mut data = vec![0; 1 << 20];
            data[offset..offset + magic.len()].copy_from_slice(magic);
            fs::write(&store, &data).expect("write");
            let refused = forget(&store).expect_err("refused").to_string();
            for text in [name, "it is left as it is"] {
                assert!(refused.contains(text), "{refused}");
            }
            assert_eq!(fs::read(&store).expect("read"), data);
        }
    }
}
