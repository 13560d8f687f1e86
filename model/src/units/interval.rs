// SPDX-License-Identifier: GPL-3.0-or-later
//! How long something takes, or how often it is done.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::bad_value::{BadValue, quoted, serde_as_string};

/// A time: whole seconds, from 1 s to a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u64);

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
const MOST: u64 = 7 * 86_400;

impl Interval {
    /// So many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// So many minutes.
    pub const fn from_minutes(minutes: u64) -> Self {
        Self(minutes * 60)
    }

    /// The same for timers and waiting.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Interval {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refuse =
            |advice: &str| BadValue::new(format!("{} is no interval", quoted(text)), advice);
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(*unit));
        let number = unit.and_then(|(unit, _)| text.strip_suffix(*unit));
        let number = number.filter(|number| number.chars().all(|c| c.is_ascii_digit()));
        let (Some((_, factor)), Some(Ok(number))) = (unit, number.map(str::parse::<u64>)) else {
            return Err(refuse("write a whole number and s, m, h or d, as \"5m\""));
        };
        match number.checked_mul(*factor) {
            Some(seconds) if (1..=MOST).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(refuse("write 1 second to 7 days")),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(char, u64)| self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&('s', 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

serde_as_string!(Interval);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_one_unit() {
        for (text, seconds) in [
            ("1s", 1),
            ("10s", 10),
            ("5m", 300),
            ("90m", 5_400),
            ("2h", 7_200),
            ("7d", 604_800),
        ] {
            let interval: Interval = text.parse().expect(text);
            assert_eq!(interval.duration(), Duration::from_secs(seconds));
            assert_eq!(interval.to_string(), text);
        }
        assert_eq!("120s".parse::<Interval>().expect("one").to_string(), "2m");
        for wrong in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "5min",
            "8d",
            "0h",
            "99999999999999999999d",
            "5½m",
        ] {
            assert!(wrong.parse::<Interval>().is_err(), "{wrong:?}");
        }
    }
}
