// SPDX-License-Identifier: GPL-3.0-or-later
//! Loop devices that domUs need: attached one a file, and released when no domain uses them; and the devices through
//! which foreign roots are written to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use domus_model::fleet::VolumePool;
use domus_system::xenstore::XenStore;
use domus_system::{loopdev, snapshot};

use crate::paths::Paths;

/// Where XenStore has every disk that dom0 gives to a domain, whoever made it.
pub(crate) const VBDS: &str = "/local/domain/0/backend/vbd";
/// What the kernel adds to the name of a file that was removed or replaced.
const DELETED: &str = " (deleted)";
/// How long a device may take to go: udev may be looking at it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Held while a device is attached, so that domUs that start together share their image's.
static ATTACH: Mutex<()> = Mutex::new(());

/// Attaches `file`, or finds the device that shows it already.
pub(crate) fn attach(file: &Path, read_only: bool) -> Result<PathBuf> {
    let _guard = ATTACH.lock().unwrap_or_else(PoisonError::into_inner);
    loopdev::attach(file, read_only)
}

/// Detaches every device that was attached or made for a domU and is not `in_use`. Returns those that
/// stay because somebody else uses them; the kernel detaches them after their last user.
pub(crate) fn release(
    paths: &Paths,
    pool: &VolumePool,
    in_use: &BTreeSet<PathBuf>,
) -> Result<Vec<PathBuf>> {
    for root in snapshot::all()? {
        if !in_use.contains(&root.path) {
            root.close()?;
        }
    }
    let mine = Mine::new(paths, pool);
    let attached = loopdev::attached()?.into_iter();
    let unused = attached.filter(|(device, file, _)| mine.has(file) && !in_use.contains(device));
    let unused: Vec<PathBuf> = unused.map(|(device, ..)| device).collect();
    for device in &unused {
        // One that its last user has just left may be gone by now.
        if let Err(error) = loopdev::detach(device)
            && !still_attached(std::slice::from_ref(device))?.is_empty()
        {
            return Err(error);
        }
    }
    let begin = Instant::now();
    loop {
        let stay = still_attached(&unused)?;
        if stay.is_empty() || begin.elapsed() > PATIENCE {
            return Ok(stay);
        }
        sleep(Duration::from_millis(10));
    }
}

fn still_attached(devices: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let attached = loopdev::attached()?.into_iter().map(|found| found.0);
    Ok(attached.filter(|device| devices.contains(device)).collect())
}

/// Devices that some domain has as a disk.
pub(crate) fn in_use(store: &XenStore) -> Result<BTreeSet<PathBuf>> {
    Ok(users(store)?.into_keys().collect())
}

/// The same, and which domain has each. What a root is made of is in use as it is.
pub(crate) fn users(store: &XenStore) -> Result<BTreeMap<PathBuf, u32>> {
    let mut found = BTreeMap::new();
    for domain in store.list(VBDS)? {
        for vbd in store.list(&format!("{VBDS}/{domain}"))? {
            // libxl writes the first; the hotplug program the others, the second if it made one.
            for key in ["params", "node", "physical-device-path"] {
                let value = store.read(&format!("{VBDS}/{domain}/{vbd}/{key}"))?;
                let device = value.filter(|value| !value.is_empty()).map(PathBuf::from);
                found.extend(device.zip(domain.parse().ok()));
            }
        }
    }
    for root in snapshot::all()? {
        if let Some(&id) = found.get(&root.path) {
            found.extend(root.below.into_iter().map(|device| (device, id)));
        }
    }
    Ok(found)
}

/// Where the files are that domUs' loop devices show.
struct Mine {
    /// Images and config disks, at any depth.
    trees: Vec<PathBuf>,
    /// File volumes, directly in it.
    volumes: Option<PathBuf>,
}

impl Mine {
    fn new(paths: &Paths, pool: &VolumePool) -> Self {
        // The kernel knows files by their real names.
        let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
        let volumes = match pool {
            VolumePool::Directory(dir) => Some(real(paths.at(dir))),
            VolumePool::VolumeGroup(_) => None,
        };
        Self {
            trees: vec![real(paths.images()), real(paths.domus())],
            volumes,
        }
    }

    fn has(&self, file: &Path) -> bool {
        let name = file.to_string_lossy();
        let file = Path::new(name.strip_suffix(DELETED).unwrap_or(&name));
        self.trees.iter().any(|tree| file.starts_with(tree))
            || (file.extension().is_some_and(|end| end == "img")
                && file
                    .parent()
                    .is_some_and(|dir| Some(dir) == self.volumes.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn shown(file: &Path) -> Vec<PathBuf> {
        let attached = loopdev::attached().expect("list").into_iter();
        let of_file = attached.filter(|found| found.1.starts_with(file));
        of_file.map(|found| found.0).collect()
    }

    #[test]
    fn what_nobody_uses_is_released_and_nothing_else() {
        assert!(
            rustix::process::geteuid().is_root(),
            "loop devices need root: run the tests so"
        );
        let dir = tempfile::tempdir().expect("dir");
        let paths = Paths::below(dir.path());
        let pool = VolumePool::Directory("/config/volumes".into());
        let file = |path: &str| {
            let path = paths.at(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(&path, [0; 8192]).expect("write");
            path
        };
        let config = file("/run/domus/domus/web/config.tar");
        let image = file("/config/images/base@1/root.img");
        let volume = file("/config/volumes/web.data.img");
        let other = file("/config/other.img");
        let attach = |file: &Path, read_only| attach(file, read_only).expect("attach");
        let (config_loop, image_loop) = (attach(&config, true), attach(&image, true));
        attach(&volume, false);
        let other_loop = attach(&other, false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(attach(&image, true), image_loop));
            }
        });
        // A config disk that is replaced while a guest has it: by one of the same size.
        let next = file("/run/domus/domus/web/next.tar");
        fs::write(&next, [1; 8192]).expect("write");
        fs::rename(&next, &config).expect("rename");
        loopdev::change(&config_loop, &config).expect("change");
        assert_eq!(fs::read(&config_loop).expect("read"), [1; 8192]);
        fs::write(&next, [2; 16384]).expect("write");
        assert!(loopdev::change(&config_loop, &next).is_err());
        assert_eq!(fs::read(&config_loop).expect("read"), [1; 8192]);
        fs::remove_file(&config).expect("rm");

        let used = [config_loop.clone(), image_loop.clone()].into();
        assert_eq!(
            release(&paths, &pool, &used).expect("release"),
            Vec::<PathBuf>::new()
        );
        assert_eq!(shown(&volume), Vec::<PathBuf>::new());
        assert_eq!(shown(&image), [image_loop]);
        assert_eq!(shown(&dir.path().join("run")), [config_loop]);

        assert_eq!(
            release(&paths, &pool, &BTreeSet::new())
                .expect("release")
                .len(),
            0
        );
        assert_eq!(
            shown(dir.path()),
            std::slice::from_ref(&other_loop),
            "somebody else's is left alone"
        );
        loopdev::detach(&other_loop).expect("detach");
    }
}
