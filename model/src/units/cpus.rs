// SPDX-License-Identifier: GPL-3.0-or-later
//! `CpuSet`: some of a host's logical CPUs.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Logical CPUs of a host, at least one, as Xen counts them from 0: `0-3,8`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuSet(BTreeSet<u32>);

/// The highest number (`NR_CPUS` in xen/arch/Kconfig, less 1).
const HIGHEST: u32 = 16382;

impl CpuSet {
    /// The highest number in it.
    pub fn highest(&self) -> u32 {
        self.0.last().copied().unwrap_or(0)
    }

    /// Whether it is all of so many CPUs.
    pub fn is_all_of(&self, cpus: u32) -> bool {
        (0..cpus).all(|cpu| self.0.contains(&cpu))
    }

    /// A bit for each CPU, the lowest of the first byte for CPU 0: as libvirt takes it.
    pub fn bits(&self) -> Vec<u8> {
        let mut bits = vec![0; self.highest() as usize / 8 + 1];
        for cpu in &self.0 {
            bits[*cpu as usize / 8] |= 1 << (cpu % 8);
        }
        bits
    }
}

impl FromStr for CpuSet {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refuse = || {
            BadValue::new(
                format!("{} is no list of CPUs", quoted(text)),
                "write numbers from 0 and ranges, the lower first, as \"0-3,8\"",
            )
        };
        let number = |text: &str| -> Option<u32> {
            let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_number)?;
            (number <= HIGHEST).then_some(number)
        };
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
                _ => return Err(refuse()),
            }
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &cpu in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        for (index, (first, last)) in ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

serde_as_string!(CpuSet);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_written_in_ranges() {
        for (text, shown, bits) in [
            ("0", "0", vec![1]),
            ("0-3,8", "0-3,8", vec![15, 1]),
            ("8,1,0,2-2", "0-2,8", vec![7, 1]),
            ("7", "7", vec![128]),
        ] {
            let set: CpuSet = text.parse().expect(text);
            assert_eq!((set.to_string(), set.bits()), (shown.to_owned(), bits));
        }
        let set: CpuSet = "0-3".parse().expect("a set");
        assert!(set.is_all_of(4) && set.is_all_of(2) && !set.is_all_of(5));
        for wrong in [
            "", "a", "3-1", "0,", ",0", "0 1", "-1", "1-", "0--1", "16383", "+1",
        ] {
            assert!(wrong.parse::<CpuSet>().is_err(), "{wrong:?}");
        }
    }
}
