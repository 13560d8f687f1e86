// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU's network card: its vif joins the bridge that the domU's document names.

use anyhow::{Context, Result};
use domus_system::link::{self, Link};

use crate::Backend;

/// Joins the vif to its bridge.
pub(crate) fn online(backend: &Backend) -> Result<()> {
    let bridge = backend.require("bridge")?;
    Link::open(&name()?)?.join(&bridge)?;
    backend.connected()
}

/// Takes the vif out of its bridge. A vif that is gone already has left it.
pub(crate) fn offline(_backend: &Backend) -> Result<()> {
    let name = name()?;
    if link::exists(&name) {
        Link::open(&name)?.leave()
    } else {
        Ok(())
    }
}

fn name() -> Result<String> {
    std::env::var("vif").context("`vif` is not set: this program is called by libxl")
}
