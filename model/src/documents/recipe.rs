//! `images/NAME.toml`: the recipe of a domU image.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::table::{At, Table};
use super::words::{COMMAND, FILES, PACKAGE, PATH, SUITE, UNIT, USER};

/// A recipe as written.
#[derive(Debug)]
pub(crate) struct RecipeDoc {
    pub(crate) revision: Option<At<u32>>,
    pub(crate) suite: Option<At<String>>,
    pub(crate) packages: Vec<At<String>>,
    pub(crate) files: Option<At<String>>,
    pub(crate) users: Vec<UserDoc>,
    pub(crate) enable: Vec<At<String>>,
    pub(crate) commands: Vec<At<String>>,
}

/// `[[user]]`
#[derive(Debug)]
pub(crate) struct UserDoc {
    pub(crate) name: Option<At<String>>,
    pub(crate) uid: Option<At<u32>>,
    pub(crate) shell: Option<At<String>>,
    pub(crate) home: Option<At<String>>,
}

impl RecipeDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        document.must_have("revision", || "write revision = 1".to_owned());
        Self {
            revision: document.number("revision", 1..=u32::MAX),
            suite: document.read("suite", &SUITE),
            packages: document.list("packages", &PACKAGE),
            files: document.read("files", &FILES),
            enable: document.list("enable", &UNIT),
            commands: document.list("commands", &COMMAND),
            users: document.tables("user", UserDoc::read),
        }
    }
}

impl UserDoc {
    fn read(table: &Table<'_>) -> Self {
        table.must_have("uid", || "write uid = 1000".to_owned());
        Self {
            name: table.require("name", &USER),
            // Debian Policy 9.2.2: what is free for accounts made by the operator.
            uid: table.number("uid", 1000..=59999),
            shell: table.read("shell", &PATH),
            home: table.read("home", &PATH),
        }
    }
}
