// SPDX-License-Identifier: GPL-3.0-or-later
//! `Port`: a network card of a host, by its name or by its address.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use crate::units::Mac;
use std::fmt;
use std::str::FromStr;

/// A network card, written as Linux calls it, or by its own address as `mac:00:16:3e:5a:01:07`:
/// names change with the board and its firmware, addresses do not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// What `ip link` shows. The kernel's `dev_valid_name`: at most 15 bytes, no `/`, `:` or
    /// space; here ASCII only.
    Named(String),
    /// The address that the card was sold with.
    Mac(Mac),
}

/// What stands before an address.
const BY_MAC: &str = "mac:";

impl Port {
    /// A word for it that is fit for a file name, and that no other port has.
    pub fn word(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            // No name of an interface has so many characters.
            Self::Mac(mac) => format!("mac-{mac}").replace(':', "-"),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.pad(name),
            Self::Mac(mac) => f.pad(&format!("{BY_MAC}{mac}")),
        }
    }
}

impl FromStr for Port {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if let Some(mac) = text.strip_prefix(BY_MAC) {
            return mac.parse().map(Self::Mac);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = (1..=15).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed);
        match fits {
            true => Ok(Self::Named(text.to_owned())),
            false => Err(BadValue::new(
                format!("{} is no network interface", quoted(text)),
                "on the machine, `ip link` lists them, as \"eno1\", or \
                 \"mac:00:16:3e:5a:01:07\" for the card of that address",
            )),
        }
    }
}

serde_as_string!(Port);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_name_or_an_address() {
        for (text, word) in [
            ("eno1", "eno1"),
            ("enp129s0f0np0", "enp129s0f0np0"),
            ("mac:00:16:3e:5a:01:07", "mac-00-16-3e-5a-01-07"),
        ] {
            let port: Port = text.parse().expect("a port");
            assert_eq!(
                (port.to_string().as_str(), port.word().as_str()),
                (text, word)
            );
        }
        for bad in [
            "",
            ".",
            "mac:",
            "mac:01:00:5e:00:00:01",
            "en o",
            "a/b",
            "-x",
            "sixteen-letters-",
        ] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
    }
}
