// SPDX-License-Identifier: GPL-3.0-or-later
//! Filling the partition for `/config` from a seed: see `domus_model::storage::seed`.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use domus_model::marker::{CONFIG_LABEL, MARKER_PATH};
use domus_model::storage::Claim;
use domus_model::storage::seed::{FILLING_AT, Filling, UNFINISHED, mode};
use rustix::fs::OFlags;

use super::lay::write_sector;
use crate::atomic;
use crate::mount::{Attributes, Mount, Mounted};
use crate::program::Program;

/// What an ext4 has for itself.
const LOST_FOUND: &str = "lost+found";

/// Makes `part` of `disk` a config partition with all that is in the seed at `from`, the marker
/// last: whenever this is cut off, there is none yet. `scratch`: where it is mounted meanwhile.
///
/// # Errors
/// The seed cannot be read, there is no room, or the disk cannot be written.
pub fn fill(disk: &Path, part: &Path, claim: &Claim, from: &Path, scratch: &Path) -> Result<()> {
    note(disk, claim, Filling::Begun)?;
    Program::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-L", UNFINISHED, "-U"])
        .arg(claim.config_file_system().to_string())
        .arg(part)
        .run()?;
    let mount = config_mount(part);
    let mounted = Mounted::new(&mount, scratch)?;
    copy(from, mounted.path(), "")?;
    sync(mounted.path())?;
    drop(mounted);
    // What is called so and cannot be read is never taken for a filling that was cut off.
    Program::new("e2label").arg(part).arg(CONFIG_LABEL).run()?;
    note(disk, claim, Filling::Done)?;
    let mounted = Mounted::new(&mount, scratch)?;
    let path = from.join(MARKER_PATH);
    let marker = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    atomic::write(&mounted.path().join(MARKER_PATH), &marker, 0o644)?;
    sync(mounted.path())
}

/// The config partition `part`, as a boot mounts it.
pub fn config_mount(part: &Path) -> Mount<'_> {
    let mut mount = Mount::new("ext4", part, Attributes::Data);
    mount.options.push(("errors", "remount-ro".into()));
    mount
}

/// Writes how far the filling is behind the claim.
fn note(disk: &Path, claim: &Claim, filling: Filling) -> Result<()> {
    let doing = || format!("noting on {} how far its filling is", disk.display());
    let file = File::options().write(true).open(disk).with_context(doing)?;
    write_sector(&file, &filling.render(claim), FILLING_AT).with_context(doing)
}

/// Copies what is in a directory of a seed, which is `path` below its root, but the marker.
fn copy(from: &Path, to: &Path, path: &str) -> Result<()> {
    let doing = || format!("reading {}", from.display());
    for entry in fs::read_dir(from).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        let name = entry.file_name();
        let inside = match path {
            "" => name.to_string_lossy().into_owned(),
            _ => format!("{path}/{}", name.to_string_lossy()),
        };
        if inside == MARKER_PATH || inside == LOST_FOUND {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        let kind = entry.file_type().with_context(doing)?;
        let mode = mode(&inside, kind.is_dir());
        let copying = || format!("copying {} to {}", from.display(), to.display());
        if kind.is_dir() {
            let mut builder = DirBuilder::new();
            builder.mode(mode).create(&to).with_context(copying)?;
            copy(&from, &to, &inside)?;
        } else if kind.is_file() {
            file(&from, &to, mode).with_context(copying)?;
        } else {
            bail!("{}: a seed has files and directories only", copying());
        }
    }
    Ok(())
}

fn file(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    let mut source = File::options()
        .read(true)
        .custom_flags(no_link)
        .open(from)?;
    let mut options = File::options();
    let mut target = options.write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut source, &mut target)?;
    target.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Everything on the file system at `place` is on its disk.
fn sync(place: &Path) -> Result<()> {
    let doing = || format!("writing {} to its disk", place.display());
    let dir = File::open(place).with_context(doing)?;
    rustix::fs::syncfs(&dir).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_seed_is_copied_with_the_modes_of_a_config_disk_and_without_its_marker() {
        let dir = tempfile::tempdir().expect("dir");
        let (seed, to) = (dir.path().join("seed"), dir.path().join("to"));
        let key = "state/ssh/ssh_host_ed25519_key";
        for path in [
            MARKER_PATH,
            "repo.git/refs/domus/running",
            key,
            "lost+found/x",
        ] {
            let path = seed.join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(&path, "text").expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("as of a vfat");
        }
        fs::create_dir_all(&to).expect("mkdir");
        copy(&seed, &to, "").expect("copied");
        let mode = |path: &str| {
            let meta = to.join(path).metadata().expect(path);
            meta.permissions().mode() & 0o7777
        };
        assert_eq!(
            (mode(key), mode("repo.git/refs/domus/running")),
            (0o600, 0o644)
        );
        assert_eq!(mode("repo.git/refs"), 0o755);
        assert!(!to.join(MARKER_PATH).exists() && !to.join("lost+found").exists());

        symlink("/etc/shadow", seed.join("state/link")).expect("a link");
        let again = dir.path().join("again");
        fs::create_dir_all(&again).expect("mkdir");
        let error = copy(&seed, &again, "").expect_err("a link").to_string();
        assert!(error.contains("files and directories only"), "{error}");
    }
}
