// SPDX-License-Identifier: GPL-3.0-or-later
//! `Name`: a host name of one label.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The longest label a host name may have (RFC 1123, section 2.1; RFC 1035, section 2.3.4).
const LONGEST: usize = 63;

/// A name that is also a host name: one label of RFC 1123 in lower case, 1 to 63 characters of
/// `a-z`, `0-9` and `-`, beginning and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name nearest to `text`: lower case, with `-` for whatever may not stand in a name.
    /// `None` where nothing would be left.
    pub fn nearest(text: &str) -> Option<Self> {
        let mut name = String::new();
        for char in text.chars().map(|char| char.to_ascii_lowercase()) {
            match char {
                'a'..='z' | '0'..='9' => name.push(char),
                _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
                _ => {}
            }
        }
        name.truncate(LONGEST);
        let name = name.trim_end_matches('-');
        (!name.is_empty()).then(|| Self(name.to_owned()))
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= LONGEST
        && ends.iter().all(|end| end.is_some_and(|byte| *byte != b'-'))
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl FromStr for Name {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "use a-z, 0-9 and -, at most 63 of them, a letter or digit first and last";
        let advice = match Self::nearest(text) {
            Some(nearest) => format!("{rule}, as \"{nearest}\""),
            None => format!("{rule}, as \"alpha\""),
        };
        let problem = format!("{} is no host name", quoted(text));
        Err(BadValue::new(problem, advice))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

serde_as_string!(Name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_label_of_a_host_name() {
        let longest = "x".repeat(63);
        for good in ["a", "7", "alpha", "a-1", "1-a", "a--b", &longest] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let too_long = "x".repeat(64);
        let bad = [
            "", "-", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "a\n", "..", &too_long,
        ];
        for bad in bad {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nearest_is_a_name() {
        let cases = [
            ("Our Fleet!", Some("our-fleet")),
            ("--a__b--", Some("a-b")),
            ("fleet", Some("fleet")),
            ("ä", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let nearest = Name::nearest(text);
            assert_eq!(nearest.as_ref().map(Name::as_str), expected, "{text}");
        }
    }
}
