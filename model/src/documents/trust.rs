// SPDX-License-Identifier: GPL-3.0-or-later
//! `trust.toml`: who may sign what.

use super::forms::{Form, name};
use super::parse;
use super::place::At;
use super::table::{Layer, Table};
use crate::bad_value::{BadValue, quoted};
use crate::diagnostic::{Diagnostic, Place};
use crate::names::Name;
use crate::trust::{Role, SigningKey, Trust, Trusted};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The document as written.
#[derive(Debug)]
pub(crate) struct TrustDoc {
    fleet: Option<At<Name>>,
    serial: Option<At<u32>>,
    threshold: Option<At<u32>>,
    keys: Vec<(At<Name>, KeyDoc)>,
}

/// `[keys.NAME]`
#[derive(Debug)]
struct KeyDoc {
    key: Option<At<SigningKey>>,
    roles: Vec<At<Role>>,
}

const KEY: Form<SigningKey> = Form {
    example: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVP+vU1cKWwPKDf0JzwNV9FVHP+Ky3mNVAvEkZ4J1yB",
    pattern: r"^(ssh-ed25519|ecdsa-sha2-nistp256|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( .*)?$",
    parse: str::parse,
};

const ROLE: Form<Role> = Form {
    example: "commit",
    pattern: "^(root|commit|publish)$",
    parse: |text| {
        let known = Role::ALL.into_iter().find(|role| role.word() == text);
        known.ok_or_else(|| {
            let advice = "write \"commit\" for who signs commits, \"publish\" for who tells hosts \
                          to take them, \"root\" for who signs this document";
            BadValue::new(format!("{} is no role", quoted(text)), advice)
        })
    },
};

impl TrustDoc {
    pub(super) fn read(document: &Table<'_>) -> Self {
        let fleet = "the fleet whose keys these are";
        let serial = "raised with every change; `domus keys` does it";
        let threshold = "how many root keys sign a change of this document";
        let doc = Self {
            fleet: document.require("fleet", fleet, &name("example")),
            serial: document.number("serial", serial, 1..=u32::MAX),
            threshold: document.number("threshold", threshold, 1..=64),
            keys: document.named_tables(
                "keys",
                "a key, by whose it is",
                &name("alice"),
                KeyDoc::read,
            ),
        };
        document.must_have("serial", || "write serial = 1".to_owned());
        document.must_have("threshold", || "write threshold = 1".to_owned());
        doc
    }

    /// What it says, if it is whole and makes sense; else that is noted.
    fn prove(self, file: &Arc<str>, notes: &mut Vec<Diagnostic>) -> Option<Trust> {
        let mut keys: BTreeMap<Name, Trusted> = BTreeMap::new();
        let mut places: BTreeMap<SigningKey, Place> = BTreeMap::new();
        for (name, KeyDoc { key, roles }) in self.keys {
            let key = key?;
            if let Some(first) = places.get(&key.value) {
                let message = "this key is there twice";
                let help = "who signs is known by the key: give each person one of their own";
                notes.push(key.place.error(message).see(first, "the first").help(help));
                return None;
            }
            places.insert(key.value.clone(), key.place);
            let roles = roles.into_iter().map(|role| role.value).collect();
            let key = key.value;
            keys.insert(name.value, Trusted { key, roles });
        }
        let (serial, threshold) = (self.serial?.value, self.threshold?);
        let trust = Trust {
            fleet: self.fleet?.value,
            serial,
            threshold: threshold.value,
            keys,
        };
        let roots = trust.with_role(Role::Root).count();
        if roots < trust.threshold as usize {
            let wanted = trust.threshold;
            let message = format!("{wanted} root keys must sign, and there are {roots}");
            let help = "nobody could ever change this document: lower the threshold, or give \
                        more keys the role root";
            notes.push(threshold.place.error(message).help(help));
            return None;
        }
        // A host gives up on a longer way than this; a person has long gone.
        if serial > MOST_CHANGES {
            let message = format!("serial {serial} is beyond {MOST_CHANGES}");
            notes.push(Place::whole(Arc::clone(file)).error(message));
            return None;
        }
        Some(trust)
    }
}

/// The highest serial of a `trust.toml`.
const MOST_CHANGES: u32 = 1000;

impl KeyDoc {
    fn read(table: &Table<'_>) -> Self {
        Self {
            key: table.require("key", "its public part", &KEY),
            roles: table.list("roles", "what it may sign", &ROLE),
        }
    }
}

/// Reads a `trust.toml`, and notes what is wrong with it.
pub(crate) fn read_trust(
    file: &Arc<str>,
    content: Result<&[u8], &str>,
    notes: &mut Vec<Diagnostic>,
) -> Option<Trust> {
    let toml = parse::parse(file, content, notes)?;
    let own = Layer::of(file, &toml);
    let doc = parse::read(own, &[], notes, TrustDoc::read)?;
    doc.prove(file, notes)
}
