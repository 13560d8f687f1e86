// SPDX-License-Identifier: GPL-3.0-or-later
//! `etc.toml`, beside the `etc/` of a layer: what git does not keep of files.

use super::place::At;
use super::table::Table;
use super::words::{ETC_PATH, MODE, OWNER, SECRET};
use crate::layers::Owner;

/// What a layer says of its files, as written.
#[derive(Debug, Default)]
pub(crate) struct EtcDoc {
    /// Files and directories of lower layers that are not to be seen.
    pub(crate) remove: Vec<At<String>>,
    /// Files of the layer that are encrypted.
    pub(crate) secrets: Vec<At<String>>,
    /// Files and directories of the layer by path.
    pub(crate) files: Vec<(At<String>, FileDoc)>,
}

/// `[files."PATH"]`
#[derive(Debug)]
pub(crate) struct FileDoc {
    pub(crate) owner: Option<At<Owner>>,
    pub(crate) mode: Option<At<u32>>,
}

impl EtcDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        let remove = "files and directories of lower layers that are not to be seen";
        let secret = "files in etc/ that are encrypted with age for the hosts that need them";
        let files = "a file or directory that this etc/ gives, by its path below /etc";
        Self {
            remove: document.list("remove", remove, &ETC_PATH),
            secrets: document.list("secret", secret, &SECRET),
            files: document.named_tables("files", files, &ETC_PATH, FileDoc::read),
        }
    }
}

impl FileDoc {
    fn read(table: &Table<'_>) -> Self {
        let owner = "its user and group; without a group, the user's own";
        Self {
            owner: table.read("owner", owner, &OWNER),
            mode: table.read("mode", "its permissions, in octal", &MODE),
        }
    }
}
