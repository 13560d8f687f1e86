// SPDX-License-Identifier: GPL-3.0-or-later
//! `Rate`: how much may be sent in a second.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::fmt;
use std::str::FromStr;

/// Bits in a second, as network cards are sold: from 100 Kbit to 1 Tbit, decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

const UNITS: [(&str, u64); 3] = [
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("Kbit", 1_000),
];
const LEAST: u64 = 100_000;
const MOST: u64 = 1_000_000_000_000;

impl Rate {
    /// So many bits in a second; `None` if that is too little or too much.
    pub fn from_bits(bits: u64) -> Option<Self> {
        (LEAST..=MOST).contains(&bits).then_some(Self(bits))
    }

    /// KiB in a second, rounded down: how libvirt counts.
    pub const fn kib(self) -> u64 {
        self.0 / 8 / 1024
    }
}

impl FromStr for Rate {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refuse = |advice: &str| BadValue::new(format!("{} is no rate", quoted(text)), advice);
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let number = unit.and_then(|(unit, _)| text.strip_suffix(unit));
        let number = number.filter(|number| number.chars().all(|c| c.is_ascii_digit()));
        let (Some((_, factor)), Some(Ok(number))) = (unit, number.map(str::parse::<u64>)) else {
            let advice = "write a whole number and Kbit, Mbit or Gbit, as \"100Mbit\"";
            return Err(refuse(advice));
        };
        let bits = number.checked_mul(*factor).and_then(Self::from_bits);
        bits.ok_or_else(|| refuse("write 100Kbit to 1000Gbit"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("bit", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

serde_as_string!(Rate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bits_in_a_second() {
        for (text, kib) in [("100Kbit", 12), ("100Mbit", 12_207), ("1Gbit", 122_070)] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!((rate.kib(), rate.to_string()), (kib, text.to_owned()));
        }
        assert_eq!(
            "1000Mbit".parse::<Rate>().expect("one").to_string(),
            "1Gbit"
        );
        for wrong in [
            "",
            "100",
            "Mbit",
            "100 Mbit",
            "100MB",
            "-1Mbit",
            "99Kbit",
            "1001Gbit",
            "1.5Gbit",
            "99999999999999999999Gbit",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
        }
    }
}
