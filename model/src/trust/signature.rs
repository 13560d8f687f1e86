// SPDX-License-Identifier: GPL-3.0-or-later
//! SSH signatures, as `ssh-keygen -Y sign` and git make them (OpenSSH, PROTOCOL.sshsig).

use super::SigningKey;
use ssh_key::{Algorithm, PublicKey, SshSig};

/// What a signature is for: one for git is none for a `trust.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Commits, and so targets.
    Git,
    /// `trust.toml`.
    Trust,
}

impl Namespace {
    /// As signatures have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Trust => "domus-trust",
        }
    }
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key: SigningKey,
    signature: SshSig,
}

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// The longest file of signatures, in bytes.
const LONGEST: usize = 64 << 10;
/// The most signatures of one document.
const MOST: usize = 64;
/// That somebody touched the security key (`SSH_SK_USER_PRESENCE_REQD` in OpenSSH's sk-api.h).
const USER_PRESENT: u8 = 0x01;
/// What ends a signature by a security key: flags, and a counter of 32 bits (PROTOCOL.u2f).
const TRAILER: usize = 5;

impl Signature {
    /// Reads one signature.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence that begins with what is signed.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        match &Self::parse_all(text)?[..] {
            [one] => Ok(one.clone()),
            [] => Err("has an empty signature"),
            _ => Err("has more than one signature"),
        }
    }

    /// Reads signatures that stand below each other.
    ///
    /// # Errors
    /// Why they are none, as the end of a sentence that begins with what is signed.
    pub fn parse_all(text: &[u8]) -> Result<Vec<Self>, &'static str> {
        const NONE: &str = "has a signature that is not by SSH";
        if text.len() > LONGEST {
            return Err("has signatures that are too long");
        }
        let text = std::str::from_utf8(text).map_err(|_| NONE)?;
        let mut signatures = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if signatures.len() == MOST {
                return Err("has too many signatures");
            }
            let end = rest.find(END).ok_or(NONE)? + END.len();
            let (block, others) = rest.split_at(end);
            if !block.starts_with(BEGIN) {
                return Err(NONE);
            }
            signatures.push(Self::read(&format!("{block}\n"))?);
            rest = others.trim_start();
        }
        Ok(signatures)
    }

    fn read(block: &str) -> Result<Self, &'static str> {
        let signature = SshSig::from_pem(block).map_err(|_| "has a damaged signature")?;
        let key = SigningKey::new(signature.public_key().clone());
        let key = key.ok_or("is signed by a kind of key that Domus does not take")?;
        if flags(&signature).is_some_and(|flags| flags & USER_PRESENT == 0) {
            return Err(
                "is signed by a security key that nobody touched: take one that was made without \
                 `-O no-touch-required`",
            );
        }
        Ok(Self { key, signature })
    }

    /// The key that it says it is by.
    pub fn key(&self) -> SigningKey {
        self.key.clone()
    }

    /// Whether its key signed `message` for this.
    pub(super) fn is_of(&self, namespace: Namespace, message: &[u8]) -> bool {
        let key = PublicKey::from(self.signature.public_key().clone());
        key.verify(namespace.word(), message, &self.signature)
            .is_ok()
    }
}

/// The flags that a security key signed; `None` of other keys.
fn flags(signature: &SshSig) -> Option<u8> {
    let is_security_key = matches!(
        signature.public_key().algorithm(),
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256
    );
    let bytes = signature.signature_bytes();
    let place = bytes.len().checked_sub(TRAILER).filter(|_| is_security_key);
    place.map(|place| bytes[place])
}
