// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of the known keys or names somebody may have meant.

/// The key of `known` that is most like `written`, if one is so like it that it may be meant.
pub(crate) fn meant<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
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

/// Levenshtein's distance: how many characters to insert, delete or replace.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
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
            ("colour", None),
            ("", None),
        ];
        for (written, expected) in cases {
            assert_eq!(meant(written, &known), expected, "{written}");
        }
    }
}
