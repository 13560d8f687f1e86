// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a host keeps what: below `/`, or below another directory in tests.

use std::path::{Path, PathBuf};

use domus_model::boot::{BOOT_RECORD, ETC_UPPER, ETCS, HOST_KEY, IMAGE_ROOT, LAYERS, SLICE};
use domus_model::names::{ImageRef, Name};
use domus_system::live_etc::Places;

/// Whatever is kept in RAM.
const RAM: &str = "/run/domus";
/// Generations of the host.
const REPO: &str = "/config/repo.git";
/// Whatever is kept in RAM for domUs.
const DOMUS: &str = "/run/domus/domus";
/// Images, a directory each.
const IMAGES: &str = "/config/images";
/// What xenconsoled writes of domUs' consoles (`xen.service`).
const CONSOLE_LOGS: &str = "/var/log/xen/console";
/// Held by whoever starts domUs.
const LOCK: &str = "/run/domus/apply.lock";

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// An absolute path of a host.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The host's part of the commit that it booted.
    pub(crate) fn booted_slice(&self) -> PathBuf {
        self.at(SLICE)
    }

    /// The host's parts of commits that it took since, a directory each, called by the commit.
    pub(crate) fn commits(&self) -> PathBuf {
        self.ram().join("commits")
    }

    /// Which of them it runs, and what is left of taking it.
    pub(crate) fn taken(&self) -> PathBuf {
        self.ram().join("applied.json")
    }

    /// `/etc`, and what it is made of.
    pub(crate) fn etc(&self) -> Places {
        Places {
            root: self.at("/"),
            etc: self.at("/etc"),
            etcs: self.at(ETCS),
            image_root: self.at(IMAGE_ROOT),
            booted_upper: self.at(ETC_UPPER),
            booted_layers: self.at(LAYERS),
        }
    }

    /// Where people see the trees of the commit: `local`, `global`.
    pub(crate) fn config(&self) -> PathBuf {
        self.at("/config")
    }

    /// The record of the boot.
    pub(crate) fn boot_record(&self) -> PathBuf {
        self.at(BOOT_RECORD)
    }

    /// The repository on the config partition.
    pub(crate) fn repo(&self) -> PathBuf {
        self.at(REPO)
    }

    /// What domUs said on their consoles, a file each.
    pub(crate) fn console_logs(&self) -> PathBuf {
        self.at(CONSOLE_LOGS)
    }

    /// What the domain `name` said on its console.
    pub(crate) fn console_log(&self, name: &Name) -> PathBuf {
        self.console_logs().join(format!("guest-{name}.log"))
    }

    /// Where things are kept in RAM.
    pub(crate) fn ram(&self) -> PathBuf {
        self.at(RAM)
    }

    /// Held by whoever changes the repository.
    pub(crate) fn repo_lock(&self) -> PathBuf {
        self.ram().join("repo.lock")
    }

    /// How the last pull went.
    pub(crate) fn last_pull(&self) -> PathBuf {
        self.ram().join("pull.json")
    }

    /// There once the fleet's repository was reached.
    pub(crate) fn remote_reached(&self) -> PathBuf {
        self.at("/config/state/remote-reached")
    }

    /// What is remembered of a domU that left or came, over boots.
    pub(crate) fn mark(&self, name: &Name) -> PathBuf {
        let state = self.at("/config/state/moves");
        state.join(format!("{name}.json"))
    }

    /// The host's own key, which opens secrets.
    pub(crate) fn key(&self) -> PathBuf {
        self.at(HOST_KEY)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.at(LOCK)
    }

    /// What is kept in RAM for all domUs.
    pub(crate) fn domus(&self) -> PathBuf {
        self.at(DOMUS)
    }

    /// What is kept in RAM for one domU.
    pub(crate) fn domu(&self, name: &Name) -> PathBuf {
        self.domus().join(name.as_str())
    }

    /// Held by whoever copies, restores or destroys a volume, or makes it a domU's.
    pub(crate) fn volume_locks(&self) -> PathBuf {
        self.ram().join("volumes")
    }

    /// Remembers which files of an image were read and found right.
    pub(crate) fn verified(&self, image: &ImageRef) -> PathBuf {
        self.ram().join("images").join(image.to_string())
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.at(IMAGES)
    }

    pub(crate) fn image(&self, image: &ImageRef) -> PathBuf {
        self.images().join(image.to_string())
    }
}
