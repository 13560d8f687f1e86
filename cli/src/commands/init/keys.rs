// SPDX-License-Identifier: GPL-3.0-or-later
//! The public SSH keys of the operator.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The keys in `~/.ssh/id_*.pub`; none if there are no such files.
pub(super) fn of_operator() -> Result<Vec<String>> {
    let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) else {
        return Ok(Vec::new());
    };
    let entries = fs::read_dir(Path::new(&home).join(".ssh"));
    let paths = entries.into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = paths.map(|entry| entry.path()).collect();
    paths.retain(|path| path.file_name().is_some_and(is_public_key));
    paths.sort();
    read(&paths)
}

fn is_public_key(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("id_") && name.ends_with(".pub")
}

/// The keys in these files, each once.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for path in paths {
        let reading = || format!("reading the SSH key {}", path.display());
        let text = fs::read_to_string(path).with_context(reading)?;
        for key in parse(&text).with_context(reading)? {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    Ok(keys)
}

/// The keys in a text of one key a line, as sshd(8) has them in `authorized_keys`.
fn parse(text: &str) -> Result<Vec<String>> {
    if text.contains("PRIVATE KEY") {
        bail!("this is a private key; name the public one, which ends with .pub");
    }
    let mut keys = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let kinds = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
        let is_key = kinds.iter().any(|kind| line.starts_with(kind));
        if !is_key || line.split_whitespace().count() < 2 || line.contains(char::is_control) {
            bail!("this is no public key; one begins with its kind, as \"ssh-ed25519 AAAA…\"");
        }
        keys.push(line.to_owned());
    }
    match keys.is_empty() {
        true => bail!("there is no key in this file"),
        false => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_public_keys_only() -> Result<()> {
        let text = "# mine\nssh-ed25519 AAAA me@here\n\n ecdsa-sha2-nistp256 BBBB \r\n";
        let keys = ["ssh-ed25519 AAAA me@here", "ecdsa-sha2-nistp256 BBBB"];
        assert_eq!(parse(text)?, keys);
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----";
        for refused in ["", "# nothing", "ssh-ed25519", "AAAA", "root:x:0", private] {
            assert!(parse(refused).is_err(), "{refused}");
        }
        Ok(())
    }
}
