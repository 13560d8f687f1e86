// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-hotplug`: connects a domU's disks and network cards to dom0, in place of Xen's shell
//! scripts `block` and `vif-bridge`. It is called by libxl under those names, and as `vif-open` for
//! a card whose domU may send what it likes.
//!
//! The contract (docs/misc/block-scripts.txt of Xen, and the scripts themselves): the backend's
//! directory is in `XENBUS_PATH`; success writes `hotplug-status=connected` there, failure writes
//! `hotplug-error`.

mod block;
mod vif;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use domus_model::domain::OPEN_VIF;
use domus_system::xenstore::XenStore;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("domus-hotplug: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let command = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let backend = Backend::open()?;
    let result = match (name, command.as_str()) {
        ("block", "add") => block::add(&backend),
        ("block", "remove") => block::remove(&backend),
        ("vif-bridge" | OPEN_VIF, "online") => vif::online(&backend, name != OPEN_VIF),
        ("vif-bridge" | OPEN_VIF, "offline") => vif::offline(name != OPEN_VIF),
        // libxl calls these for the tap device of an emulated card, which no domU has.
        ("vif-bridge" | OPEN_VIF, "add" | "remove") => Ok(()),
        _ => bail!(
            "called as `{name} {command}`: known are block add|remove, vif-bridge and {OPEN_VIF} \
             online|offline"
        ),
    };
    if let Err(error) = &result {
        backend.write("hotplug-error", &format!("{error:#}"))?;
        backend.write("hotplug-status", "error")?;
    }
    result
}

/// A device's backend directory in XenStore.
struct Backend {
    store: XenStore,
    path: String,
}

impl Backend {
    fn open() -> Result<Self> {
        let path = std::env::var("XENBUS_PATH")
            .context("XENBUS_PATH is not set: this program is called by libxl")?;
        Ok(Self {
            store: XenStore::open()?,
            path,
        })
    }

    fn read(&self, node: &str) -> Result<Option<String>> {
        self.store.read(&format!("{}/{node}", self.path))
    }

    fn require(&self, node: &str) -> Result<String> {
        self.read(node)?
            .with_context(|| format!("{} has no {node}", self.path))
    }

    fn write(&self, node: &str, value: &str) -> Result<()> {
        self.store.write(&format!("{}/{node}", self.path), value)
    }

    fn connected(&self) -> Result<()> {
        self.write("hotplug-status", "connected")
    }
}
