// SPDX-License-Identifier: GPL-3.0-or-later
//! `Mac`: the address of one network card.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::fmt;
use std::str::FromStr;

/// The MAC address of one network card: never zero, never a multicast address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address of these six octets.
    ///
    /// # Errors
    /// When it is zero or a multicast address, which no card may have.
    pub fn new(octets: [u8; 6]) -> Result<Self, BadValue> {
        let mac = Self(octets);
        if octets == [0; 6] {
            let problem = format!("\"{mac}\" is nobody's MAC address");
            return Err(BadValue::new(problem, ADVICE));
        }
        if octets[0] & 1 == 1 {
            let problem = format!("\"{mac}\" is a multicast address, no network card's");
            let advice = "make its first octet even; 00:16:3e is the prefix for Xen's guests";
            return Err(BadValue::new(problem, advice));
        }
        Ok(mac)
    }

    /// These octets as a locally administered address of one card (IEEE 802): two bits of the
    /// first octet say so, 46 are as given.
    pub const fn local([first, rest @ ..]: [u8; 6]) -> Self {
        let [b, c, d, e, f] = rest;
        Self([(first & !1) | 2, b, c, d, e, f])
    }

    /// The six octets.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether it can be given to a guest with no thought of the cards that are sold: it is in
    /// Xen's own range (00:16:3e) or locally administered (IEEE 802).
    pub fn is_free_to_give(self) -> bool {
        self.0[..3] == [0x00, 0x16, 0x3e] || self.0[0] & 2 == 2
    }
}

const ADVICE: &str = "write six octets in hexadecimal, as \"00:16:3e:5a:01:07\"";

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl FromStr for Mac {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let octets = parse_octets(text)
            .ok_or_else(|| BadValue::new(format!("{} is no MAC address", quoted(text)), ADVICE))?;
        Self::new(octets)
    }
}

fn parse_octets(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next()?;
        let is_hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        *octet = u8::from_str_radix(part, 16).ok().filter(|_| is_hex)?;
    }
    parts.next().is_none().then_some(octets)
}

serde_as_string!(Mac);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_in_lower_case() -> Result<(), BadValue> {
        let mac: Mac = "00:16:3E:5A:01:07".parse()?;
        assert_eq!(mac.to_string(), "00:16:3e:5a:01:07");
        assert_eq!(mac.octets(), [0x00, 0x16, 0x3e, 0x5a, 0x01, 0x07]);
        Ok(())
    }

    #[test]
    fn local_ones_are_those_of_one_card() {
        for octets in [[0; 6], [0xff; 6], [0x01, 2, 3, 4, 5, 6]] {
            let mac = Mac::local(octets);
            assert_eq!(Mac::new(mac.octets()), Ok(mac));
            assert!(mac.is_free_to_give());
            assert_eq!(mac.octets()[1..], octets[1..]);
        }
    }

    #[test]
    fn knows_whose_it_may_be() -> Result<(), BadValue> {
        let cases = [
            ("00:16:3e:00:00:01", true),
            ("52:54:00:12:34:56", true),
            ("3c:ec:ef:12:34:56", false),
        ];
        for (text, free) in cases {
            assert_eq!(text.parse::<Mac>()?.is_free_to_give(), free, "{text}");
        }
        Ok(())
    }
}
