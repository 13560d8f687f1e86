// SPDX-License-Identifier: GPL-3.0-or-later
//! Opens and makes secrets: age files for SSH keys.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use age::ssh::Identity;
use age::{Callbacks, Decryptor, Encryptor};
use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_model::secrets::Recipient;
use rustix::fs::{Access, access};
use tempfile::TempDir;

/// The longest secret, in bytes: it is kept in RAM.
const LONGEST: u64 = 1 << 20;

/// Where files are in RAM.
const RAM: [&str; 2] = ["/dev/shm", "/run"];

/// A directory in RAM that nobody else can read; it goes with the value.
///
/// # Errors
/// There is no such place.
pub fn in_ram() -> Result<TempDir> {
    let mut places = RAM.into_iter();
    let Some(ram) = places.find(|ram| access(*ram, Access::WRITE_OK).is_ok()) else {
        bail!(
            "there is no RAM to keep a secret in: neither of {} can be written to",
            RAM.join(", ")
        );
    };
    tempfile::tempdir_in(ram).context("making a directory in RAM")
}

/// A key that opens secrets.
pub struct Key(Box<dyn age::Identity>);

impl Key {
    /// Reads a private SSH key, or a file of age's own keys. `ask`: asks for the passphrase of a
    /// key that has one, by the description that it is given.
    ///
    /// # Errors
    /// There is none, it is of another kind, or has a passphrase that nobody gives.
    pub fn read(path: &Path, ask: Option<Ask>) -> Result<Self> {
        let doing = || format!("reading the key {}", path.display());
        let text = fs::read(path).with_context(doing)?;
        if let Ok(identity) = std::str::from_utf8(&text)
            .unwrap_or_default()
            .trim()
            .parse::<age::x25519::Identity>()
        {
            return Ok(Self(Box::new(identity)));
        }
        let name = path.display().to_string();
        let identity = Identity::from_buffer(&text[..], Some(name)).with_context(doing)?;
        match (identity, ask) {
            (Identity::Unencrypted(key), _) => Ok(Self(Box::new(Identity::from(key)))),
            (Identity::Encrypted(key), Some(ask)) => {
                Ok(Self(Box::new(Identity::from(key).with_callbacks(ask))))
            }
            (Identity::Encrypted(_), None) => bail!("{}: it has a passphrase", doing()),
            (Identity::Unsupported(_), _) => bail!("{}: no Ed25519 or RSA key", doing()),
        }
    }
}

/// Asks people for a passphrase.
#[derive(Clone)]
pub struct Ask(pub fn(description: &str) -> Option<String>);

impl Callbacks for Ask {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, description: &str) -> Option<age::secrecy::SecretString> {
        (self.0)(description).map(Into::into)
    }
}

/// Decrypts `secret` with the first of `keys` that it is for.
///
/// # Errors
/// It is damaged, too long, or for none of them.
pub fn open(secret: &[u8], keys: &[Key]) -> Result<Vec<u8>> {
    let decryptor = Decryptor::new(secret).context("it is no age file")?;
    let keys = keys.iter().map(|key| &*key.0);
    let plain = decryptor.decrypt(keys).map_err(|error| match error {
        age::DecryptError::NoMatchingKeys => anyhow!("it is encrypted for others"),
        error => anyhow!(error),
    })?;
    let mut content = Vec::new();
    plain
        .take(LONGEST + 1)
        .read_to_end(&mut content)
        .context("it is damaged")?;
    ensure!(
        content.len() as u64 <= LONGEST,
        "it is longer than {LONGEST} bytes"
    );
    Ok(content)
}

/// Encrypts `content` for all of these.
///
/// # Errors
/// One of the keys is none, or there are none.
pub fn make(content: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>> {
    let longest = usize::try_from(LONGEST).unwrap_or(usize::MAX);
    ensure!(
        content.len() <= longest,
        "a secret has {LONGEST} bytes at most"
    );
    let recipients: Vec<Box<dyn age::Recipient>> =
        recipients.iter().map(known).collect::<Result<_>>()?;
    let all = recipients.iter().map(|recipient| &**recipient);
    let encryptor = Encryptor::with_recipients(all).context("encrypting")?;
    let mut secret = Vec::new();
    let mut writer = encryptor.wrap_output(&mut secret).context("encrypting")?;
    writer.write_all(content).context("encrypting")?;
    writer.finish().context("encrypting")?;
    Ok(secret)
}

fn known(recipient: &Recipient) -> Result<Box<dyn age::Recipient>> {
    let text = recipient.to_string();
    Ok(match recipient {
        Recipient::Ssh(_) => {
            let key = text.parse::<age::ssh::Recipient>();
            Box::new(key.map_err(|_| anyhow!("{text} is no SSH key"))?)
        }
        Recipient::Age(_) => {
            let key = text.parse::<age::x25519::Recipient>();
            Box::new(key.map_err(|reason| anyhow!("{text} is no age key: {reason}"))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;
    use domus_model::secrets::{Recipients, SshKey};

    fn key(dir: &Path, name: &str) -> (Key, SshKey) {
        let path = dir.join(name);
        let path_text = path.to_string_lossy().into_owned();
        let args = [
            "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &path_text,
        ];
        Program::new("ssh-keygen")
            .args(args)
            .run()
            .expect("ssh-keygen");
        let public = fs::read_to_string(path.with_extension("pub")).expect("read");
        (
            Key::read(&path, None).expect("key"),
            public.parse().expect("a key"),
        )
    }

    #[test]
    fn whom_a_secret_is_for_opens_it_and_nobody_else() {
        let dir = tempfile::tempdir().expect("dir");
        let (alpha, alpha_public) = key(dir.path(), "alpha");
        let (beta, beta_public) = key(dir.path(), "beta");
        let own = age::x25519::Identity::generate();
        let operator: Recipient = own.to_public().to_string().parse().expect("a key");
        let all = [Recipient::Ssh(alpha_public.clone()), operator];
        let secret = make(b"hello", &all).expect("made");

        let recipients = Recipients::parse(&secret).expect("an age file");
        assert!(recipients.include(&alpha_public) && !recipients.include(&beta_public));
        assert!(recipients.are(&all) && !recipients.are(&all[..1]));
        assert_eq!(open(&secret, &[alpha]).expect("open"), b"hello");
        assert_eq!(
            open(&secret, &[Key(Box::new(own))]).expect("open"),
            b"hello"
        );
        let refused = open(&secret, &[beta]).expect_err("not for it").to_string();
        assert_eq!(refused, "it is encrypted for others");
        assert!(make(b"hello", &[]).is_err());
        let longest = usize::try_from(LONGEST).expect("small");
        assert!(make(&vec![0; longest + 1], &all).is_err());
        let mut damaged = secret.clone();
        *damaged.last_mut().expect("a byte") ^= 1;
        let (alpha, _) = (Key::read(&dir.path().join("alpha"), None).expect("key"), ());
        assert!(open(&damaged, &[alpha]).is_err());
        assert!(open(&secret[..40], &[]).is_err());
    }
}
