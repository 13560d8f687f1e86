// SPDX-License-Identifier: GPL-3.0-or-later
//! `images/NAME.toml`: the recipe of a domU image.

use super::place::At;
use super::table::Table;
use super::words::{COMMAND, FILES, FOREIGN, PACKAGE, PATH, SUITE, UNIT, USER};

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
    pub(crate) foreign: Option<ForeignDoc>,
}

/// `[foreign]`
#[derive(Debug)]
pub(crate) struct ForeignDoc {
    pub(crate) disk: Option<At<String>>,
    pub(crate) kernel: Option<At<String>>,
    pub(crate) initrd: Option<At<String>>,
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
        let foreign = "a disk that was made elsewhere and is taken as it is";
        let packages = "Debian packages beyond those a domU needs";
        let files = "a directory beside the recipe that is copied over the root";
        let commands = "lines for /bin/sh, run inside the new root, last and in order";
        let is_foreign = document.has("foreign");
        let recipe = Self {
            revision: document.number("revision", "raised with every change", 1..=u32::MAX),
            suite: document.read("suite", suite, &SUITE),
            packages: document.list("packages", packages, &PACKAGE),
            files: document.read("files", files, &FILES),
            enable: document.list("enable", "systemd units to enable", &UNIT),
            commands: document.list("commands", commands, &COMMAND),
            users: document.tables("user", "a user to make", UserDoc::read),
            foreign: document
                .table("foreign", foreign, |table| {
                    ForeignDoc::read(table, is_foreign)
                })
                .filter(|_| is_foreign),
        };
        let others = ["suite", "packages", "files", "enable", "commands", "user"];
        for key in others
            .into_iter()
            .filter(|key| is_foreign && document.has(key))
        {
            let message =
                format!("`{key}` is nothing for a foreign image, which is taken as it is");
            let help = format!("take `{key}` out, or [foreign]");
            document.notes().error(&document.place(), message, help);
        }
        document.must_have("revision", || "write revision = 1".to_owned());
        recipe
    }
}

impl ForeignDoc {
    fn read(table: &Table<'_>, is_there: bool) -> Self {
        let disk = "the file with the disk or partition, beside the recipe: raw, and not in git";
        let kernel = "a kernel beside it, if the disk has no GRUB that can start it";
        let doc = Self {
            disk: table.read("disk", disk, &FOREIGN),
            kernel: table.read("kernel", kernel, &FOREIGN),
            initrd: table.read("initrd", "the initramfs of that kernel", &FOREIGN),
        };
        if is_there {
            table.must_have("disk", || "write disk = \"debian.raw\"".to_owned());
        }
        if table.has("initrd") {
            table.must_have("kernel", || "write kernel = \"vmlinuz\"".to_owned());
        }
        doc
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
