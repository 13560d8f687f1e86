// SPDX-License-Identifier: GPL-3.0-or-later
//! What UEFI firmware and what it started say of this boot. Variables: UEFI specification, 3.3; how Linux shows
//! them: Documentation/filesystems/efivarfs.rst.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::mount::{Attributes, Mount, Mounted};

/// Where Linux says that UEFI started it.
const EFI: &str = "/sys/firmware/efi";
/// Where the variables are looked at; systemd has a place of its own later.
const PLACE: &str = "/run/domus/efivars";
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// The partition that a loader was started from (Boot Loader Interface; GRUB's module `bli`).
const LOADER: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// A file begins with the variable's attributes.
const ATTRIBUTES: usize = 4;

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firmware {
    /// Whether firmware checked who signed what it started.
    pub secure_boot: bool,
    /// The id of the partition that the loader was started from, if one says so.
    pub loader: Option<String>,
}

/// Reads it. Needs the module `efivarfs`.
///
/// # Errors
/// The variables cannot be read.
pub fn read() -> Result<Firmware> {
    if !Path::new(EFI).exists() {
        return Ok(Firmware::default());
    }
    let mount = Mount {
        flags: vec!["ro"],
        ..Mount::new("efivarfs", Path::new("efivarfs"), Attributes::ReadOnlyData)
    };
    let mounted = Mounted::new(&mount, Path::new(PLACE))?;
    let read = |name: &str| match fs::read(mounted.path().join(name)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading the UEFI variable {name}")),
    };
    Ok(Firmware {
        secure_boot: read(SECURE_BOOT)?.is_some_and(|content| is_on(&content)),
        loader: read(LOADER)?.and_then(|content| id(&content)),
    })
}

fn is_on(content: &[u8]) -> bool {
    content.get(ATTRIBUTES..) == Some(&[1])
}

/// The id of a partition, in UTF-16 that ends with a zero; as the kernel and `blkid` write it.
fn id(content: &[u8]) -> Option<String> {
    let (units, rest) = content.get(ATTRIBUTES..)?.as_chunks();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let text = String::from_utf16(&units)
        .ok()
        .filter(|_| rest.is_empty())?;
    Some(
        text.trim_end_matches('\0')
            .parse::<Uuid>()
            .ok()?
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_partition_is_named_as_linux_names_it() {
        let variable = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            [6, 0, 0, 0].into_iter().chain(units).collect()
        };
        let id = "9520A2F3-D85A-5B57-92AD-6D4D78144685";
        let read = super::id(&variable(&format!("{id}\0")));
        assert_eq!(read, Some(id.to_lowercase()));
        assert_eq!(super::id(&variable(id)), Some(id.to_lowercase()));
        for other in ["", "\0", "x", &id[1..]] {
            assert_eq!(super::id(&variable(other)), None, "{other:?}");
        }
        assert_eq!(super::id(&[6, 0]), None);
    }

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
