// SPDX-License-Identifier: GPL-3.0-or-later
//! `images/NAME.toml`: the recipe of a domU image.

use super::place::At;
use super::table::Table;
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
        let suite = "the Debian suite, if not the fleet's";
        let packages = "Debian packages beyond those a domU needs";
        let files = "a directory beside the recipe that is copied over the root";
        let commands = "lines for /bin/sh, run inside the new root, last and in order";
        let recipe = Self {
            revision: document.number("revision", "raised with every change", 1..=u32::MAX),
            suite: document.read("suite", suite, &SUITE),
            packages: document.list("packages", packages, &PACKAGE),
            files: document.read("files", files, &FILES),
            enable: document.list("enable", "systemd units to enable", &UNIT),
            commands: document.list("commands", commands, &COMMAND),
            users: document.tables("user", "a user to make", UserDoc::read),
        };
        document.must_have("revision", || "write revision = 1".to_owned());
        recipe
    }
}

impl UserDoc {
    fn read(table: &Table<'_>) -> Self {
        let user = Self {
            name: table.require("name", "the login name", &USER),
            // Debian Policy 9.2.2: what is free for accounts made by the operator.
            uid: table.number("uid", "its number, and its group's", 1000..=59999),
            shell: table.read("shell", "the login shell", &PATH),
            home: table.read("home", "the home directory, made if given", &PATH),
        };
        table.must_have("uid", || "write uid = 1000".to_owned());
        user
    }
}
