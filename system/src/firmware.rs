// SPDX-License-Identifier: GPL-3.0-or-later
//! What UEFI firmware says of Secure Boot. Variables: UEFI specification, 3.3; how Linux shows
//! them: Documentation/filesystems/efivarfs.rst.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use crate::mount::{Attributes, Mount, Mounted};

/// Where Linux says that UEFI started it.
const EFI: &str = "/sys/firmware/efi";
/// Where the variables are looked at; systemd has a place of its own later.
const PLACE: &str = "/run/domus/efivars";
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// A file begins with the variable's attributes.
const ATTRIBUTES: usize = 4;

/// Whether firmware checked who signed what it started. Needs the module `efivarfs`.
///
/// # Errors
/// The variables cannot be read.
pub fn secure_boot() -> Result<bool> {
    if !Path::new(EFI).exists() {
        return Ok(false);
    }
    let mount = Mount {
        flags: vec!["ro"],
        ..Mount::new("efivarfs", Path::new("efivarfs"), Attributes::ReadOnlyData)
    };
    let mounted = Mounted::new(&mount, Path::new(PLACE))?;
    match fs::read(mounted.path().join(SECURE_BOOT)) {
        Ok(content) => Ok(is_on(&content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("reading the UEFI variable SecureBoot"),
    }
}

fn is_on(content: &[u8]) -> bool {
    content.get(ATTRIBUTES..) == Some(&[1])
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_value_one_says_yes() {
        assert!(super::is_on(&[6, 0, 0, 0, 1]));
        for other in [
            &[6, 0, 0, 0, 0][..],
            &[6, 0, 0, 0],
            &[1],
            &[],
            &[6, 0, 0, 0, 1, 1],
        ] {
            assert!(!super::is_on(other), "{other:?}");
        }
    }
}
