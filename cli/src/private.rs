// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the operator's private keys are, which are in no repository: beside the other settings. A
//! command that needs a disk is run by sudo, whose HOME is root's; the keys are the operator's then,
//! too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::names::Name;
use domus_model::secrets::SshKey;
use domus_system::sudo;

/// The directory of a fleet's private keys of one kind, if nobody names another:
/// `$XDG_CONFIG_HOME/domus/KIND/FLEET`. Under sudo it is that of whoever called it, unless root has
/// one.
///
/// # Errors
/// There is no home directory.
pub(crate) fn directory(kind: &str, fleet: &Name) -> Result<PathBuf> {
    let below = Path::new("domus").join(kind).join(fleet.as_str());
    if let Some(config) = variable("XDG_CONFIG_HOME") {
        return Ok(Path::new(&config).join(below));
    }
    let home = variable("HOME").context("there is no $HOME; name a place for the keys")?;
    in_home(Path::new(&home), &below, sudo::home)
}

/// The file of a host's private key. Each key has its own, so that none is lost when a commit is
/// taken back.
///
/// # Errors
/// There is no home directory.
pub(crate) fn host_key(fleet: &Name, host: &Name, public: &SshKey) -> Result<PathBuf> {
    let file = format!("{host}-{}", public.short());
    Ok(directory("host-keys", fleet)?.join(file))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The directory `below` the settings of whoever has this home, or else of who called sudo.
fn in_home(
    home: &Path,
    below: &Path,
    caller: impl FnOnce() -> Result<Option<PathBuf>>,
) -> Result<PathBuf> {
    let at = |home: &Path| home.join(".config").join(below);
    let own = at(home);
    if own.exists() {
        return Ok(own);
    }
    Ok(caller()?.map_or(own, |home| at(&home)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_sudo_keys_are_where_they_are_without() {
        let root = tempfile::tempdir().expect("a directory");
        let below = Path::new("domus/host-keys/small");
        let found = |caller: Option<&str>| {
            let caller = || Ok(caller.map(PathBuf::from));
            in_home(root.path(), below, caller).expect("a directory")
        };
        let own = root.path().join(".config").join(below);
        let anns = Path::new("/home/ann/.config").join(below);
        assert_eq!(found(None), own);
        assert_eq!(found(Some("/home/ann")), anns);
        // Who always worked as root keeps what is there.
        std::fs::create_dir_all(&own).expect("a directory");
        assert_eq!(found(Some("/home/ann")), own);
        let missing = in_home(Path::new("/no"), below, || anyhow::bail!("no such user"));
        assert!(missing.is_err());
    }
}
