// SPDX-License-Identifier: GPL-3.0-or-later
//! Who called sudo.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::program::Program;

/// The home directory of who called sudo to be root, if somebody did: sudo(8), `SUDO_UID`.
///
/// # Errors
/// There is no such user.
pub fn home() -> Result<Option<PathBuf>> {
    let id = std::env::var_os("SUDO_UID").filter(|id| !id.is_empty());
    let Some(id) = id.filter(|_| rustix::process::geteuid().is_root()) else {
        return Ok(None);
    };
    let shown = id.to_string_lossy().into_owned();
    let doing = || format!("finding the home directory of the user {shown}, who called sudo");
    let entry = Program::new("getent").arg("passwd").arg(id).output();
    let entry = entry.with_context(doing)?.stdout;
    let home = home_of(&String::from_utf8_lossy(&entry)).map(PathBuf::from);
    home.map(Some).with_context(doing)
}

/// The home directory in a line of passwd(5).
fn home_of(entry: &str) -> Option<&str> {
    let home = entry.lines().next()?.split(':').nth(5)?;
    Some(home).filter(|home| home.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_read_from_passwd() {
        let entry = "ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash\n";
        assert_eq!(home_of(entry), Some("/home/ann"));
        for other in [
            "",
            "\n",
            "ann:x:1000",
            "ann:x:1000:1000::",
            "ann:x:1000:1000:::/bin/sh",
        ] {
            assert_eq!(home_of(other), None, "{other}");
        }
    }
}
