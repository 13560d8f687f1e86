// SPDX-License-Identifier: GPL-3.0-or-later
//! `Size`: a number of bytes, written with a binary unit.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::fmt;
use std::str::FromStr;

/// The units there are, the largest first, with their bytes.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// An amount of memory or disk, in bytes; always a whole number of KiB.
///
/// Written as a number and `KiB`, `MiB`, `GiB` or `TiB`, with nothing between: `256MiB`. A bare
/// number is refused, and so are decimal units, as nobody agrees on what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// So many KiB; as many as there can be where that would overflow.
    pub const fn from_kib(kib: u64) -> Self {
        let most = u64::MAX >> 10;
        Self(if kib > most { most } else { kib } << 10)
    }

    /// So many MiB; as many as there can be where that would overflow.
    pub const fn from_mib(mib: u64) -> Self {
        Self::from_kib(mib.saturating_mul(1024))
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in MiB, rounded down.
    pub const fn mib(self) -> u64 {
        self.0 >> 20
    }

    /// Whether it is a whole number of MiB.
    pub const fn is_whole_mib(self) -> bool {
        self.0.is_multiple_of(1 << 20)
    }

    /// The sum, or the largest size where that would overflow.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::from_kib((self.0 >> 10).saturating_add(other.0 >> 10))
    }
}

impl fmt::Display for Size {
    /// The largest unit that is exact: `1536MiB`, never `1.5GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = exact.unwrap_or(&UNITS[3]);
        f.pad(&format!("{}{unit}", self.0 / bytes))
    }
}

impl FromStr for Size {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(refuse(text, number, unit));
        };
        let Ok(number) = number.parse::<u64>() else {
            return Err(refuse(text, number, unit));
        };
        number.checked_mul(*bytes).map(Self).ok_or_else(|| {
            let problem = format!("{} is more than there can be", quoted(text));
            BadValue::new(problem, "write less than 16777216TiB")
        })
    }
}

/// Says what to write instead of `text`, which begins with `number` and goes on with `unit`.
fn refuse(text: &str, number: &str, unit: &str) -> BadValue {
    let meant = match unit.trim().to_ascii_lowercase().as_str() {
        "kib" | "kb" | "k" => Some("KiB"),
        "mib" | "mb" | "m" => Some("MiB"),
        "gib" | "gb" | "g" => Some("GiB"),
        "tib" | "tb" | "t" => Some("TiB"),
        _ => None,
    };
    let problem = format!("{} is no size", quoted(text));
    let advice = match meant {
        Some(meant) if !number.is_empty() => format!("write \"{number}{meant}\""),
        _ if unit.is_empty() && !number.is_empty() => {
            format!("write its unit, as \"{number}MiB\"; there are KiB, MiB, GiB and TiB")
        }
        _ if unit.starts_with('.') => {
            "write a whole number of a smaller unit, as \"1536MiB\" for 1.5 GiB".to_owned()
        }
        _ => "write a number and KiB, MiB, GiB or TiB, as \"256MiB\"".to_owned(),
    };
    BadValue::new(problem, advice)
}

serde_as_string!(Size);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_in_the_largest_exact_unit() {
        let cases = [
            (0, "0KiB"),
            (1, "1KiB"),
            (1024, "1MiB"),
            (1536, "1536KiB"),
            (256 << 10, "256MiB"),
            (2 << 20, "2GiB"),
            (1 << 30, "1TiB"),
        ];
        for (kib, shown) in cases {
            assert_eq!(Size::from_kib(kib).to_string(), shown);
            assert_eq!(shown.parse(), Ok(Size::from_kib(kib)));
        }
        assert_eq!(Size::from_mib(7).mib(), 7);
        assert_eq!(Size::from_kib(1536).mib(), 1);
        assert_eq!(format!("{:>8}|", Size::from_mib(1)), "    1MiB|");
    }

    #[test]
    fn says_what_to_write_instead() {
        let cases = [
            (
                "256MBB",
                "\"256MBB\" is no size: write a number and KiB, MiB, GiB or TiB, as \"256MiB\"",
            ),
            ("256MB", "\"256MB\" is no size: write \"256MiB\""),
            ("2g", "\"2g\" is no size: write \"2GiB\""),
            ("64 MiB", "\"64 MiB\" is no size: write \"64MiB\""),
        ];
        for (text, message) in cases {
            let refused = text.parse::<Size>().map_err(|bad| bad.to_string());
            assert_eq!(refused, Err(message.to_owned()));
        }
    }

    #[test]
    fn does_not_overflow() {
        let most = Size::from_kib(u64::MAX);
        assert_eq!(most, most.saturating_add(most));
        assert_eq!(most, Size::from_mib(u64::MAX));
        assert_eq!(most.to_string().parse(), Ok(most));
        assert!("16777216TiB".parse::<Size>().is_err());
    }
}
