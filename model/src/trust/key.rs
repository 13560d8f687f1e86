// SPDX-License-Identifier: GPL-3.0-or-later
//! Keys that sign: those of SSH that are short and have one way of signing.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, Fingerprint, HashAlg, PublicKey};
use std::fmt;
use std::str::FromStr;

/// The public part of an SSH key that signs, without its comment: Ed25519 or ECDSA on P-256, of
/// their own or in a security key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SigningKey(KeyData);

impl SigningKey {
    /// What OpenSSH calls it, `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        Fingerprint::new(HashAlg::Sha256, &self.0).to_string()
    }

    pub(super) fn new(key: KeyData) -> Option<Self> {
        let is_known = matches!(
            key.algorithm(),
            Algorithm::Ed25519
                | Algorithm::SkEd25519
                | Algorithm::SkEcdsaSha2NistP256
                | Algorithm::Ecdsa {
                    curve: EcdsaCurve::NistP256
                }
        );
        is_known.then_some(Self(key))
    }
}

impl FromStr for SigningKey {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let key = PublicKey::from_openssh(text).ok();
        let key = key.and_then(|key| Self::new(key.key_data().clone()));
        key.ok_or_else(|| {
            let problem = format!("{} is no SSH key that signs", quoted(text));
            let advice = "write the public part of an Ed25519 key, or of one in a security key, \
                          as \"ssh-ed25519 AAAA...\"";
            BadValue::new(problem, advice)
        })
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = PublicKey::from(self.0.clone()).to_openssh();
        f.write_str(key.map_err(|_| fmt::Error)?.trim_end())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_string!(SigningKey);
