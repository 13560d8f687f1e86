// SPDX-License-Identifier: GPL-3.0-or-later
//! From the `trust.toml` that somebody knows to the newest one, signature by signature.

use super::{DOCUMENT, EARLIER, Role, SIGNATURES, Signature, Trust};
use crate::names::Name;
use serde::Serialize;
use std::collections::BTreeMap;

/// The most that all earlier documents and signatures may have, in bytes.
const LONGEST: usize = 16 << 20;

/// A `trust.toml` that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    trust: Trust,
    document: Vec<u8>,
}

/// The `trust.toml` of a commit, with all earlier ones that it carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    links: BTreeMap<u32, Link>,
}

/// What a document asks of the newest one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The serial of the document that asks.
    pub serial: u32,
    /// How many of its root keys must have signed.
    pub threshold: u32,
    /// Those that have.
    pub signed: Vec<Name>,
    /// All that could.
    pub roots: Vec<Name>,
}

impl Standing {
    /// Whether enough have signed.
    pub fn is_met(&self) -> bool {
        self.signed.len() >= self.threshold as usize
    }
}

/// One `trust.toml` and the signatures of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Link {
    document: Vec<u8>,
    signatures: Vec<u8>,
}

impl Chain {
    /// Makes it of files: `read` gives the content of one by its path, `earlier` names those in
    /// `trust/`. None if there is no `trust.toml`.
    ///
    /// # Errors
    /// `trust.toml` cannot be read, or `read` says why not.
    pub fn read<'n>(
        earlier: impl IntoIterator<Item = &'n str>,
        read: impl Fn(&str) -> Result<Option<Vec<u8>>, String>,
    ) -> Result<Option<Self>, String> {
        let Some(document) = read(DOCUMENT)? else {
            return Ok(None);
        };
        let newest = Trust::parse(&document)?.serial;
        let (mut links, mut length) = (BTreeMap::new(), 0);
        for name in earlier {
            // What is called otherwise is nobody's.
            let serial = name
                .strip_suffix(".toml")
                .and_then(|stem| stem.parse().ok());
            let is_one = |serial: &u32| *serial < newest && format!("{serial}.toml") == name;
            let Some(serial) = serial.filter(is_one) else {
                continue;
            };
            let document = read(&format!("{EARLIER}/{serial}.toml"))?.unwrap_or_default();
            let signatures = read(&format!("{EARLIER}/{serial}.sig"))?.unwrap_or_default();
            length += document.len() + signatures.len();
            if length > LONGEST {
                return Err(format!("{EARLIER}/ has more than {LONGEST} bytes"));
            }
            let link = Link {
                document,
                signatures,
            };
            links.insert(serial, link);
        }
        let signatures = read(SIGNATURES)?.unwrap_or_default();
        let link = Link {
            document,
            signatures,
        };
        links.insert(newest, link);
        Ok(Some(Self { links }))
    }

    /// The files that [`Chain::read`] reads.
    pub fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        let newest = self.links.keys().last().copied().unwrap_or_default();
        self.links.iter().flat_map(move |(serial, link)| {
            let [document, signatures] = match *serial == newest {
                true => [DOCUMENT.to_owned(), SIGNATURES.to_owned()],
                false => ["toml", "sig"].map(|end| format!("{EARLIER}/{serial}.{end}")),
            };
            [
                (document, &link.document[..]),
                (signatures, &link.signatures[..]),
            ]
        })
    }

    /// The newest, whoever signed it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn newest(&self) -> Result<Anchor, String> {
        let document = self.links.values().last().map(|link| &link.document[..]);
        Anchor::new(document.unwrap_or_default())
    }

    /// The signatures of the newest.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn signatures(&self) -> Result<Vec<Signature>, String> {
        let link = self.links.values().last();
        let signatures = link.map_or(&[][..], |link| &link.signatures);
        Signature::parse_all(signatures).map_err(|why| format!("{DOCUMENT} {why}"))
    }

    /// Who asks that the newest be signed, and who has: the one before, and it itself.
    ///
    /// # Errors
    /// A document or the signatures cannot be read.
    pub fn standing(&self) -> Result<Vec<Standing>, String> {
        let signatures = self.signatures()?;
        let newest = self.newest()?;
        let before = newest.trust.serial.checked_sub(1);
        let before = before.and_then(|serial| self.links.get(&serial));
        let before = before.map(|link| Anchor::new(&link.document)).transpose()?;
        let standing = |by: &Anchor| Standing {
            serial: by.trust.serial,
            threshold: by.trust.threshold,
            signed: by
                .trust
                .roots_of(&newest.document, &signatures)
                .into_iter()
                .cloned()
                .collect(),
            roots: by
                .trust
                .with_role(Role::Root)
                .map(|(name, _)| name.clone())
                .collect(),
        };
        Ok(before.iter().chain([&newest]).map(standing).collect())
    }

    /// Proves it from its first document on, which signs itself.
    ///
    /// # Errors
    /// What is missing or not signed by enough.
    pub fn prove(&self) -> Result<Anchor, String> {
        let Some((1, first)) = self.links.iter().next() else {
            return Err(format!("{EARLIER}/1.toml is missing, the first {DOCUMENT}"));
        };
        let anchor = Anchor::new(&first.document)?;
        anchor.trust.ensure_signed(first, 1)?;
        anchor.follow(self)
    }
}

impl Anchor {
    /// Believes a document.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(document: &[u8]) -> Result<Self, String> {
        Ok(Self {
            trust: Trust::parse(document)?,
            document: document.to_owned(),
        })
    }

    /// What it says.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The document.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The newest of the chain that can be believed by who believes this one; this one, if the
    /// chain is older.
    ///
    /// # Errors
    /// The chain comes from another one, or a link is missing or not signed by enough.
    pub fn follow(&self, chain: &Chain) -> Result<Self, String> {
        let mut here = self.clone();
        let serial = here.trust.serial;
        if let Some(same) = chain.links.get(&serial)
            && same.document != here.document
        {
            return Err(format!(
                "its {DOCUMENT} with serial {serial} is another than the one that is believed"
            ));
        }
        let newest = chain.links.keys().last().copied().unwrap_or_default();
        for serial in serial.saturating_add(1)..=newest {
            let Some(link) = chain.links.get(&serial) else {
                return Err(format!(
                    "{EARLIER}/{serial}.toml is missing: nobody can follow from serial {} to \
                     {newest}",
                    serial - 1
                ));
            };
            let next = Self::new(&link.document)?;
            if next.trust.serial != serial || next.trust.fleet != here.trust.fleet {
                let (fleet, own) = (&next.trust.fleet, next.trust.serial);
                return Err(format!(
                    "the {DOCUMENT} with serial {serial} says that it is of the fleet {fleet} \
                     with serial {own}"
                ));
            }
            here.trust.ensure_signed(link, serial)?;
            next.trust.ensure_signed(link, serial)?;
            here = next;
        }
        Ok(here)
    }
}

impl Trust {
    /// Makes sure that enough root keys of this one signed a link.
    fn ensure_signed(&self, link: &Link, serial: u32) -> Result<(), String> {
        let signatures = Signature::parse_all(&link.signatures)
            .map_err(|why| format!("the {DOCUMENT} with serial {serial} {why}"))?;
        let signers = self.roots_of(&link.document, &signatures);
        let wanted = self.threshold as usize;
        match signers.len() >= wanted {
            true => Ok(()),
            false => Err(format!(
                "the {DOCUMENT} with serial {serial} is signed by {} of {wanted} root keys that \
                 serial {} asks for",
                signers.len(),
                self.serial
            )),
        }
    }
}
