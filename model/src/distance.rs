// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of the known keys or names somebody may have meant.

/// The key of `known` that is most like `written`, if one is so like it that it may be meant.
pub fn meant<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    const LONGEST: usize = 40;
    if written.len() > LONGEST {
        return None;
    }
    let written = plain(written);
    known
        .iter()
        .map(|key| (distance(&written, &plain(key)), *key))
        .min()
        .filter(|(distance, key)| *distance <= 1 + key.chars().count() / 4)
        .map(|(_, key)| key)
}

/// Case and the kind of hyphen make no difference to what was meant.
fn plain(key: &str) -> Vec<char> {
    let key = key.to_lowercase().replace('_', "-");
    key.chars().collect()
}

/// How many characters to insert, delete, replace or swap with the next (the distance of optimal
/// string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            let mut least = replaced.min(next[j] + 1).min(row[j + 1] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["image", "memory", "vcpus", "dmi-uuid", "mac"];
        let cases = [
            ("memry", Some("memory")),
            ("Memory", Some("memory")),
            ("vcpu", Some("vcpus")),
            ("dmi_uuid", Some("dmi-uuid")),
            ("imgae", Some("image")),
            ("mac", Some("mac")),
            ("amc", Some("mac")),
            ("cam", None),
            ("colour", None),
            ("", None),
        ];
        for (written, expected) in cases {
            assert_eq!(meant(written, &known), expected, "{written}");
        }
    }
}
