// SPDX-License-Identifier: GPL-3.0-or-later
//! The programs of Domus that go into what is built.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use domus_system::digest;

/// Where the programs of this installation are.
#[derive(Debug, Clone)]
pub struct Programs {
    dir: PathBuf,
}

/// A program with its digest.
#[derive(Debug, Clone)]
pub struct Shipped {
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 of it.
    pub digest: String,
}

impl Programs {
    /// `$DOMUS_PROGRAMS`, else `../lib/domus` beside the running `domus`.
    ///
    /// # Errors
    /// The running program's own path cannot be found.
    pub fn find() -> Result<Self> {
        if let Some(dir) = std::env::var_os("DOMUS_PROGRAMS") {
            return Ok(Self { dir: dir.into() });
        }
        let own = std::env::current_exe().context("finding where domus itself is")?;
        let prefix = own
            .parent()
            .and_then(Path::parent)
            .unwrap_or(Path::new("/"));
        Ok(Self {
            dir: prefix.join("lib/domus"),
        })
    }

    /// The program `name`.
    ///
    /// # Errors
    /// It is not there.
    pub fn get(&self, name: &str) -> Result<Shipped> {
        let path = self.dir.join(name);
        ensure!(
            path.is_file(),
            "{} is missing: it belongs to Domus and goes into what is built; `make install` puts \
             it there, or set DOMUS_PROGRAMS to the directory that has it",
            path.display()
        );
        let digest = digest::of_file(&path)?;
        Ok(Shipped { path, digest })
    }
}
