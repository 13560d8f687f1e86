// SPDX-License-Identifier: GPL-3.0-or-later
//! Making SSH keys and signing with them, by `ssh-keygen`: it knows passphrases, agents and security
//! keys.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use domus_model::BadValue;
use domus_model::secrets::SshKey;
use domus_model::trust::Namespace;

use crate::program::Program;
use crate::secret;

/// Makes the key of a host, as one that has none makes it at its first boot: Ed25519, without
/// passphrase or comment. The file of the private part, and the public one.
///
/// # Errors
/// `ssh-keygen` fails.
pub fn make_host_key() -> Result<(Vec<u8>, SshKey)> {
    let doing = "making an SSH key";
    let directory = secret::in_ram().context(doing)?;
    let file = directory.path().join("key");
    Program::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(&file)
        .run()
        .context(doing)?;
    let public = fs::read_to_string(file.with_extension("pub")).context(doing)?;
    let private = fs::read(&file).context(doing)?;
    Ok((private, public.parse().context(doing)?))
}

/// The public part of the key in `file`, which is either of its two files.
///
/// # Errors
/// There is none, or it is no such key.
pub fn public_key<K>(file: &Path) -> Result<K>
where
    K: FromStr<Err = BadValue>,
{
    let doing = || format!("reading the SSH key {}", file.display());
    let mut public = file.as_os_str().to_owned();
    public.push(".pub");
    let text = match file.extension().is_some_and(|it| it == "pub") {
        true => std::fs::read_to_string(file).with_context(doing)?,
        false => match std::fs::read_to_string(&public) {
            Ok(text) => text,
            Err(_) => {
                let keygen = Program::new("ssh-keygen").args(["-y", "-f"]).arg(file);
                let keygen = keygen.asking();
                let output = keygen.output().with_context(doing)?;
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
        },
    };
    text.trim().parse::<K>().with_context(doing)
}

/// Signs `message` with the key in `file`; if that is the public part, an agent has the other.
///
/// # Errors
/// The key cannot be used.
pub fn sign(file: &Path, namespace: Namespace, message: &[u8]) -> Result<String> {
    let output = Program::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace.word(), "-f"])
        .arg(file)
        .input(message)
        .asking()
        .output()
        .with_context(|| format!("signing with {}", file.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
