// SPDX-License-Identifier: GPL-3.0-or-later
//! XenStore: plain reads and writes, and watches. In dom0 through the daemon's socket, in a domU through
//! `/dev/xen/xenbus`.

pub mod watch;

use anyhow::{Context, Result};
use xenstore_rs::Xs;
use xenstore_rs::unix::XsUnix;

/// An open XenStore.
pub struct XenStore(XsUnix);

impl XenStore {
    /// Connects.
    ///
    /// # Errors
    /// Neither the daemon's socket nor the device is there: this is no Xen domain, or dom0's
    /// xenstored does not run.
    pub fn open() -> Result<Self> {
        XsUnix::new()
            .map(Self)
            .context("connecting to XenStore (is xenstored running?)")
    }

    /// The value at `path`, or none if there is no such node.
    ///
    /// # Errors
    /// Permission, or a broken connection.
    pub fn read(&self, path: &str) -> Result<Option<String>> {
        match self.0.read(path) {
            Ok(value) => Ok(Some(value.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {path} in XenStore")),
        }
    }

    /// Names below `path`; empty if there is no such node.
    ///
    /// # Errors
    /// Permission, or a broken connection.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        match self.0.directory(path) {
            Ok(names) => Ok(names.iter().map(ToString::to_string).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("listing {path} in XenStore")),
        }
    }

    /// Writes `value` to `path`, making the nodes above it.
    ///
    /// # Errors
    /// Permission, quota, or a broken connection.
    pub fn write(&self, path: &str, value: &str) -> Result<()> {
        self.0
            .write(path, value)
            .with_context(|| format!("writing {path} in XenStore"))
    }
}
