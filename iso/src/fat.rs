// SPDX-License-Identifier: GPL-3.0-or-later
//! FAT file systems in files, by mtools: what UEFI firmware reads.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_build::toolroot::ToolRoot;
use domus_system::program::Program;

/// A FAT file system.
#[derive(Debug)]
pub(crate) struct Fat<'t> {
    tools: &'t ToolRoot,
    /// The file that it is in.
    path: PathBuf,
    /// Where it begins there, in bytes.
    offset: u64,
}

impl<'t> Fat<'t> {
    /// That which is in the file at `path`, `offset` bytes from its beginning.
    pub(crate) fn at(tools: &'t ToolRoot, path: &Path, offset: u64) -> Self {
        Self {
            tools,
            path: path.to_owned(),
            offset,
        }
    }

    /// Makes a new file of an empty one; `size` says how large, in options of mformat.
    pub(crate) fn make(tools: &'t ToolRoot, path: &Path, size: &[&str]) -> Result<Self> {
        let fat = Self::at(tools, path, 0);
        fat.run("mformat", |it| {
            it.args(["-C", "-N", "444f4d55"]).args(size).arg("::")
        })?;
        Ok(fat)
    }

    /// Makes a directory.
    pub(crate) fn directory(&self, path: &str) -> Result<()> {
        self.run("mmd", |it| it.arg(format!("::{path}")))
    }

    /// Copies the file `from` to `path`.
    pub(crate) fn copy(&self, from: &Path, path: &str) -> Result<()> {
        // Without -m mcopy takes the time from SOURCE_DATE_EPOCH, as the others do.
        self.run("mcopy", |it| it.arg(from).arg(format!("::{path}")))
    }

    /// The content of the file at `path`.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let program = self.program("mtype")?.arg(format!("::{path}"));
        let output = program.output();
        let doing = || format!("reading {path} of {}", self.path.display());
        Ok(output.with_context(doing)?.stdout)
    }

    fn program(&self, name: &str) -> Result<Program> {
        let place = format!("{}@@{}", self.path.display(), self.offset);
        let program = self.tools.program(name)?.env("TZ", "UTC");
        Ok(program.args(["-i", &place]))
    }

    fn run(&self, name: &str, arguments: impl Fn(Program) -> Program) -> Result<()> {
        arguments(self.program(name)?)
            .run()
            .with_context(|| format!("making {}", self.path.display()))
    }
}
