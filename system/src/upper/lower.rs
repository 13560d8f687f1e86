// SPDX-License-Identifier: GPL-3.0-or-later
//! The lower directories of an overlay, as one sees through them.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::{is_opaque, is_whiteout};

/// Lower directories, the uppermost first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lower(pub Vec<PathBuf>);

impl Lower {
    /// What is seen at `path`, and where it lies.
    pub fn find(&self, path: &str) -> Option<(PathBuf, Metadata)> {
        for directory in &self.0 {
            match look(directory, path) {
                Look::Found(at, meta) => return Some((at, meta)),
                Look::Hidden => return None,
                Look::Below => {}
            }
        }
        None
    }
}

enum Look {
    Found(PathBuf, Metadata),
    /// It has nothing there, and hides what those below have.
    Hidden,
    /// Those below say.
    Below,
}

fn look(directory: &Path, path: &str) -> Look {
    let mut hidden = false;
    let ends = path.match_indices('/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let at = directory.join(&path[..end]);
        let Ok(meta) = at.symlink_metadata() else {
            return if hidden { Look::Hidden } else { Look::Below };
        };
        let is_last = end == path.len();
        if is_whiteout(&meta) || !(is_last || meta.is_dir()) {
            return Look::Hidden;
        }
        if is_last {
            return Look::Found(at, meta);
        }
        hidden |= is_opaque(&at);
    }
    Look::Below
}
