// SPDX-License-Identifier: GPL-3.0-or-later
//! `explain`: which layer gave a file in `/etc` of this host, who wrote it, and
//! whether it was changed since.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Result, bail};
use domus_model::explain::{self, Explanation};
use domus_repo::{Change, Repo};
use domus_system::live_etc::Etc;
use serde::Serialize;

use crate::context::Context;

/// Where a file of this host comes from.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    name: String,
    #[serde(flatten)]
    explanation: Explanation,
    /// The last change of each source in the commit that `/etc` is of.
    changes: BTreeMap<String, Option<Change>>,
    /// What was done to it since the boot, if anything.
    since: Option<Since>,
}

/// What was done to a file since the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Since {
    Changed,
    Removed,
}

impl Explained {
    /// Explains `path`, as an operator names it.
    ///
    /// # Errors
    /// It is not in `/etc`, or the repository is damaged.
    pub(crate) fn find(context: &Context, path: &str) -> Result<Self> {
        let inside = explain::path_of(path);
        if inside.is_empty() {
            bail!("{path} is no path in /etc; write it as /etc/motd");
        }
        let has_hosts = context.slice.join("global/hosts").is_file();
        let explanation = explain::host(&context.wanted, &context.host, has_hosts, inside);
        let repo = Repo::open(&context.paths.repo())?;
        let mut changes = BTreeMap::new();
        for source in explanation
            .says
            .iter()
            .filter_map(|say| say.source.as_ref())
        {
            let change = repo.last_change(&context.commit, source)?;
            changes.insert(source.clone(), change);
        }
        Ok(Self {
            name: context.host.name.to_string(),
            explanation,
            changes,
            since: since(&Etc::find(&context.paths.etc())?.upper(), inside),
        })
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let changed = |source: &str| Some(self.changes.get(source)?.as_ref()?.shown());
        let text = self.explanation.render(&self.name, changed);
        let since = match self.since {
            Some(Since::Changed) => "It was changed since the boot; the next boot undoes that.\n",
            Some(Since::Removed) => "It was removed since the boot; the next boot undoes that.\n",
            None => "",
        };
        text + &self.explanation.conclusion() + since
    }
}

/// What the overlay's upper directory has for `path`: everything that was changed lies there.
fn since(upper: &Path, path: &str) -> Option<Since> {
    let parts: Vec<&str> = path.split('/').collect();
    for count in 1..=parts.len() {
        let meta = fs::symlink_metadata(upper.join(parts[..count].join("/"))).ok()?;
        // A whiteout: character device 0 (Linux, Documentation/filesystems/overlayfs.rst).
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            return Some(Since::Removed);
        }
        if count == parts.len() && !meta.is_dir() {
            return Some(Since::Changed);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn what_was_changed_since_the_boot_is_in_the_upper_directory() {
        let dir = tempfile::tempdir().expect("dir");
        let upper = dir.path();
        fs::create_dir_all(upper.join("ssh/deep")).expect("made");
        fs::write(upper.join("ssh/sshd_config"), "x").expect("written");
        let whiteout = |path: &str| {
            let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
            mknodat(CWD, upper.join(path), kind, mode, 0).expect("a whiteout");
        };
        whiteout("motd");
        whiteout("ssh/gone");
        let cases = [
            ("ssh/sshd_config", Some(Since::Changed)),
            ("motd", Some(Since::Removed)),
            ("ssh/gone/with/it", Some(Since::Removed)),
            ("ssh", None),
            ("ssh/deep", None),
            ("ssh/other", None),
            ("hosts", None),
        ];
        for (path, expected) in cases {
            assert_eq!(since(upper, path), expected, "{path}");
        }
    }
}
