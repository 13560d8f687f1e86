// SPDX-License-Identifier: GPL-3.0-or-later
//! Who may sign what in a fleet, and what a signed statement says.
//!
//! `trust.toml` names the keys. It is signed by root keys; each new one is signed by enough root
//! keys of the one before as well as of its own, so that whoever knows one of them, as every
//! release does, can follow to the newest.

mod chain;
mod key;
mod signature;
mod target;

pub use chain::{Anchor, Chain, Standing};
pub use key::SigningKey;
pub use signature::{Namespace, Signature};
pub use target::{Target, TargetError};

use crate::documents::read_trust;
use crate::names::Name;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// Where it stands in a repository.
pub const DOCUMENT: &str = "trust.toml";
/// The signatures of it, by root keys.
pub const SIGNATURES: &str = "trust.sig";
/// The directory of earlier ones and their signatures, `SERIAL.toml` and `SERIAL.sig`.
pub const EARLIER: &str = "trust";

/// What the keys of a fleet are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The fleet.
    pub fleet: Name,
    /// Its number, from 1; each change has the next.
    pub serial: u32,
    /// How many root keys sign a change.
    pub threshold: u32,
    /// The keys, by whose they are.
    pub keys: BTreeMap<Name, Trusted>,
}

/// A key and what it may sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trusted {
    /// Its public part.
    pub key: SigningKey,
    /// What it may sign.
    pub roles: BTreeSet<Role>,
}

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The next `trust.toml`.
    Root,
    /// Commits that hosts run.
    Commit,
    /// Targets: which hosts run which commit.
    Publish,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Root, Self::Commit, Self::Publish];

    /// As documents have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Commit => "commit",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Trust {
    /// Reads a `trust.toml`.
    ///
    /// # Errors
    /// What is wrong with it, as lines for a console.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        let mut notes = Vec::new();
        let trust = read_trust(&DOCUMENT.into(), Ok(document), &mut notes);
        let lines: Vec<String> = notes
            .iter()
            .map(crate::diagnostic::Diagnostic::line)
            .collect();
        match trust {
            Some(trust) if notes.is_empty() => Ok(trust),
            _ => Err(lines.join("; ")),
        }
    }

    /// The document as it is written.
    pub fn render(&self) -> String {
        let Self {
            fleet,
            serial,
            threshold,
            keys,
        } = self;
        let mut text = format!(
            "# Who may sign what in this fleet. `domus keys` writes it; root keys sign it.\n\
             version = 1\nfleet = \"{fleet}\"\nserial = {serial}\n\
             # how many root keys sign a change\nthreshold = {threshold}\n"
        );
        for (name, Trusted { key, roles }) in keys {
            let roles: Vec<String> = roles.iter().map(|role| format!("\"{role}\"")).collect();
            let roles = roles.join(", ");
            let _ = write!(
                text,
                "\n[keys.{name}]\nkey = \"{key}\"\nroles = [{roles}]\n"
            );
        }
        text
    }

    /// The keys that may sign this.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = (&Name, &SigningKey)> {
        let may = move |(_, it): &(&Name, &Trusted)| it.roles.contains(&role);
        self.keys
            .iter()
            .filter(may)
            .map(|(name, it)| (name, &it.key))
    }

    /// Whose signature of `message` this is, if it is somebody's who may sign it.
    ///
    /// # Errors
    /// Whose it is otherwise, as the end of a sentence that begins with what was signed.
    pub fn signer(
        &self,
        role: Role,
        namespace: Namespace,
        message: &[u8],
        signature: &Signature,
    ) -> Result<&Name, String> {
        let key = signature.key();
        let known = self.keys.iter().find(|(_, it)| it.key == key);
        let serial = self.serial;
        let Some((name, trusted)) = known else {
            let print = key.fingerprint();
            return Err(format!(
                "is signed by the key {print}, which trust.toml (serial {serial}) does not have"
            ));
        };
        if !trusted.roles.contains(&role) {
            return Err(format!(
                "is signed by {name}, who has not the role {role} in trust.toml (serial {serial})"
            ));
        }
        match signature.is_of(namespace, message) {
            true => Ok(name),
            false => Err(format!(
                "has a signature by {name} that is of something else"
            )),
        }
    }

    /// Which root keys signed the document `next`.
    pub fn roots_of(&self, next: &[u8], signatures: &[Signature]) -> BTreeSet<&Name> {
        let signed = |signature| {
            self.signer(Role::Root, Namespace::Trust, next, signature)
                .ok()
        };
        signatures.iter().filter_map(signed).collect()
    }
}

#[cfg(test)]
mod tests;
