// SPDX-License-Identifier: GPL-3.0-or-later
//! Volumes as sparse files. One is made and formatted under a temporary name: whatever has its
//! final name is whole.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_model::fleet::Disk;
use domus_model::units::Size;
use domus_system::atomic::{self, Pending};
use domus_system::loopdev;

use super::format::format;

/// How the name of a file ends that is a volume.
const END: &str = ".img";

/// Where the volume `name` in `dir` is, or would be.
pub(super) fn real(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(format!("{name}{END}"));
    path.canonicalize().unwrap_or(path)
}

/// The volumes in `dir`: their names, files, and sizes in bytes. None if it is not there.
pub(super) fn list(dir: &Path) -> Result<Vec<(String, PathBuf, u64)>> {
    let doing = || format!("listing the volumes in {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(doing)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(doing)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(END));
        // A link that leads nowhere is no volume for now.
        let file = path.metadata().ok().filter(fs::Metadata::is_file);
        if let (Some(name), Some(file)) = (name, file) {
            found.push((name.to_owned(), path.clone(), file.len()));
        }
    }
    Ok(found)
}

/// Removes the volume `name` for good.
pub(super) fn remove(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(format!("{name}{END}"));
    let doing = || format!("removing the volume {}", path.display());
    if path.is_symlink() {
        fs::remove_file(real(dir, name)).with_context(doing)?;
    }
    fs::remove_file(&path).with_context(doing)?;
    atomic::sync_dir(dir)
}

/// The volume `name` in `dir`.
pub(super) fn prepare(dir: &Path, name: &str, size: Size, disk: &Disk) -> Result<PathBuf> {
    let path = dir.join(format!("{name}{END}"));
    // Not `exists()`: a link that leads nowhere has the name too, and must not be replaced.
    match path.symlink_metadata() {
        Ok(_) => accept(&path, disk)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(&path, size, disk)
                .with_context(|| format!("making the volume {}", path.display()))?;
        }
        Err(error) => return Err(error).with_context(|| format!("finding {}", path.display())),
    }
    Ok(path)
}

/// Lets the volume grow, and the loop device that shows it, if one does.
pub(super) fn grow(dir: &Path, name: &str, wanted: Size) -> Result<()> {
    let path = dir.join(format!("{name}{END}"));
    let doing = || format!("growing the volume {} to {wanted}", path.display());
    let path = path.canonicalize().with_context(doing)?;
    let file = OpenOptions::new().write(true).open(&path);
    let file = file.with_context(doing)?;
    if file.metadata().with_context(doing)?.len() >= wanted.bytes() {
        return Ok(());
    }
    file.set_len(wanted.bytes()).with_context(doing)?;
    file.sync_all().with_context(doing)?;
    let attached = loopdev::attached().with_context(doing)?.into_iter();
    let mut showing = attached.filter(|(_, file, _)| *file == path);
    showing
        .try_for_each(|(device, ..)| loopdev::resize(&device))
        .with_context(doing)
}

fn accept(path: &Path, disk: &Disk) -> Result<()> {
    let kind = fs::metadata(path).with_context(|| format!("finding {}", path.display()))?;
    ensure!(kind.is_file(), "the volume {} is no file", path.display());
    super::examine(path, disk)
}

fn make(path: &Path, size: Size, disk: &Disk) -> Result<()> {
    if let Some(dir) = path.parent() {
        atomic::sweep(dir);
    }
    let mut pending = Pending::new(path)?;
    pending
        .file()
        .set_len(size.bytes())
        .context("setting its size")?;
    format(pending.temporary(), disk)?;
    pending.commit(0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domus_model::fleet::{Backing, Fs};
    use domus_system::atomic::TEMPORARY;
    use domus_system::block::{self, Content};
    use std::os::unix::fs::{MetadataExt, symlink};

    fn disk(size: &str, mount: Option<&str>) -> Disk {
        Disk {
            name: "data".parse().expect("name"),
            backing: Backing::Volume {
                name: "web.data".into(),
                size: size.parse().expect("size"),
            },
            fs: Fs::Ext4,
            mount: mount.map(str::to_owned),
        }
    }

    /// As the agent calls it.
    fn prepare(dir: &Path, name: &str, disk: &Disk) -> Result<PathBuf> {
        let Backing::Volume { size, .. } = disk.backing else {
            panic!("a volume");
        };
        super::prepare(dir, name, size, disk)
    }

    #[test]
    fn a_volume_is_made_once_and_never_touched_again() {
        let dir = tempfile::tempdir().expect("dir");
        let pool = dir.path().join("volumes");
        fs::create_dir(&pool).expect("mkdir");
        // What an attempt that lost its power left behind.
        fs::write(pool.join(format!("{TEMPORARY}half")), "half").expect("write");
        let path = prepare(&pool, "web.data", &disk("64MiB", Some("/srv"))).expect("made");
        assert_eq!(path, pool.join("web.data.img"));
        let meta = fs::metadata(&path).expect("stat");
        assert_eq!((meta.len(), meta.mode() & 0o777), (64 << 20, 0o600));
        assert!(meta.blocks() * 512 < 16 << 20, "it is sparse");
        let Content::FileSystem(found) = block::probe(&path).expect("probe") else {
            panic!("no file system");
        };
        assert_eq!((found.kind, found.size), ("ext4", 64 << 20));
        let label = &fs::read(&path).expect("read")[1024 + 0x78..][..5];
        assert_eq!(label, b"data\0");

        let before = fs::read(&path).expect("read");
        for other in ["32MiB", "64MiB", "128MiB"] {
            prepare(&pool, "web.data", &disk(other, Some("/srv"))).expect("accepted");
        }
        assert!(
            fs::read(&path).expect("read") == before,
            "no byte has changed"
        );
        assert_eq!(fs::metadata(&path).expect("stat").ino(), meta.ino());
        assert_eq!(
            fs::read_dir(&pool).expect("list").count(),
            2,
            "no other file was left"
        );
    }

    #[test]
    fn what_is_there_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().expect("dir");
        let with_mount = disk("4MiB", Some("/srv"));
        let refused = |content: &[u8]| {
            let path = dir.path().join("web.data.img");
            fs::write(&path, content).expect("write");
            let error = prepare(dir.path(), "web.data", &with_mount).expect_err("refused");
            assert!(fs::read(&path).expect("read") == content, "it is as it was");
            prepare(dir.path(), "web.data", &disk("4MiB", None)).expect("the guest's to fill");
            error.to_string()
        };
        assert!(refused(&[0; 8192]).contains("holds nothing that is known"));
        assert!(refused(b"precious").contains("no ext4 to mount on /srv: it is left as it is"));
        let mut xfs = vec![0; 1 << 20];
        xfs[..4].copy_from_slice(b"XFSB");
        assert!(refused(&xfs).contains("holds xfs"));
        let other = prepare(dir.path(), "db.data", &with_mount).expect("made");
        let whole = fs::read(other).expect("read");
        assert!(refused(&whole[..1 << 20]).contains("is cut off"));
    }

    #[test]
    fn a_disk_is_made_with_what_it_shall_hold() {
        let dir = tempfile::tempdir().expect("dir");
        let with = |fs, mount| Disk {
            fs,
            ..disk("8MiB", mount)
        };
        let swap = prepare(dir.path(), "web.swap", &with(Fs::Swap, None)).expect("made");
        assert_eq!(block::probe(&swap).expect("probe"), Content::Other("swap"));
        let own = prepare(dir.path(), "web.own", &with(Fs::None, None)).expect("made");
        assert_eq!(block::probe(&own).expect("probe"), Content::Unknown);
        let refused = prepare(dir.path(), "web.own", &with(Fs::Swap, None));
        let refused = refused.expect_err("refused").to_string();
        assert!(
            refused.contains("holds nothing that is known, and no swap"),
            "{refused}"
        );
        let refused = prepare(dir.path(), "web.swap", &with(Fs::Xfs, Some("/srv")));
        let refused = refused.expect_err("refused").to_string();
        assert!(
            refused.contains("holds swap, and no xfs to mount on /srv"),
            "{refused}"
        );
    }

    #[test]
    fn a_volume_grows_with_the_device_that_shows_it_and_never_shrinks() {
        let dir = tempfile::tempdir().expect("dir");
        let path = prepare(dir.path(), "web.data", &disk("8MiB", Some("/srv"))).expect("made");
        let before = fs::read(&path).expect("read");
        let device = loopdev::attach(&path, false).expect("attached: as root");
        let size = || super::super::size(&device).expect("a size");
        for (wanted, bytes) in [("4MiB", 8 << 20), ("16MiB", 16 << 20), ("8MiB", 16 << 20)] {
            grow(dir.path(), "web.data", wanted.parse().expect("size")).expect("grown");
            assert_eq!(fs::metadata(&path).expect("stat").len(), bytes);
            assert_eq!(size(), bytes);
        }
        let after = fs::read(&path).expect("read");
        assert!(after.starts_with(&before), "what it held is there");
        loopdev::detach(&device).expect("detached");
        assert!(grow(dir.path(), "db.data", Size::from_mib(1)).is_err());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_no_reason_to_make_a_volume() {
        let dir = tempfile::tempdir().expect("dir");
        let link = dir.path().join("web.data.img");
        symlink("/not/mounted/web.img", &link).expect("link");
        let error = prepare(dir.path(), "web.data", &disk("4MiB", None)).expect_err("refused");
        assert!(error.to_string().starts_with("finding "), "{error}");
        assert!(link.is_symlink());
    }

    #[test]
    fn a_failed_format_leaves_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let error = prepare(dir.path(), "web.data", &disk("1KiB", None)).expect_err("too small");
        assert!(
            format!("{error:#}").contains("`mke2fs -q -t ext4 -L data"),
            "{error:#}"
        );
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
    }
}
