// SPDX-License-Identifier: GPL-3.0-or-later
//! `PciDevice`: where a device is on a host's PCI buses.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::fmt;
use std::str::FromStr;

/// A function of a PCI device, as `lspci -D` shows it: `0000:03:00.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciDevice {
    /// The domain of buses.
    pub domain: u16,
    /// The bus.
    pub bus: u8,
    /// The slot on it, below 32.
    pub slot: u8,
    /// The function of what is there, below 8.
    pub function: u8,
}

impl FromStr for PciDevice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let number = |text: &str, digits: usize, most: u16| -> Option<u16> {
            let fits = text.len() == digits && text.chars().all(|c| c.is_ascii_hexdigit());
            let number = u16::from_str_radix(text, 16).ok().filter(|_| fits)?;
            (number <= most).then_some(number)
        };
        let byte = |text, digits, most| number(text, digits, most)?.try_into().ok();
        let read = || -> Option<Self> {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (slot, function) = rest.split_once('.')?;
            Some(Self {
                domain: number(domain, 4, u16::MAX)?,
                bus: byte(bus, 2, 0xff)?,
                slot: byte(slot, 2, 0x1f)?,
                function: byte(function, 1, 7)?,
            })
        };
        read().ok_or_else(|| {
            BadValue::new(
                format!("{} is no PCI device", quoted(text)),
                "write what `lspci -D` shows on the host, as \"0000:03:00.0\"",
            )
        })
    }
}

impl fmt::Display for PciDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            slot,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{slot:02x}.{function}")
    }
}

serde_as_string!(PciDevice);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_lspci_does() {
        for text in ["0000:03:00.0", "0001:ff:1f.7"] {
            assert_eq!(text.parse::<PciDevice>().expect(text).to_string(), text);
        }
        for wrong in [
            "",
            "03:00.0",
            "0000:03:00",
            "0000:03:20.0",
            "0000:03:00.8",
            "0000:3:0.0",
            "0000:03:00.0 ",
            "0000:0g:00.0",
        ] {
            assert!(wrong.parse::<PciDevice>().is_err(), "{wrong:?}");
        }
    }
}
