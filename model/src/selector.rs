// SPDX-License-Identifier: GPL-3.0-or-later
//! Which hosts are meant: `alpha`, `web-*`, `@group`, `*`.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use crate::names::Name;
use std::fmt;
use std::str::FromStr;

/// Some hosts of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// Those of a group.
    Group(Name),
    /// Those whose name this pattern matches; `*` stands for any characters.
    Pattern(String),
}

impl Selector {
    /// All hosts.
    pub fn all() -> Self {
        Self::Pattern("*".to_owned())
    }

    /// Whether a host of these groups is meant.
    pub fn selects(&self, host: &Name, groups: &[Name]) -> bool {
        match self {
            Self::Group(group) => groups.contains(group),
            Self::Pattern(pattern) => matches(pattern, host.as_str()),
        }
    }
}

/// Whether the whole of `text` is as `pattern` says.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

impl FromStr for Selector {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if let Some(group) = text.strip_prefix('@') {
            return group.parse().map(Self::Group);
        }
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-*".contains(c);
        match !text.is_empty() && text.len() <= 63 && text.chars().all(known) {
            true => Ok(Self::Pattern(text.to_owned())),
            false => {
                let problem = format!("{} names no hosts", quoted(text));
                let advice = "write a host, a pattern as \"web-*\", a group as \"@web\", or \"*\"";
                Err(BadValue::new(problem, advice))
            }
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "@{group}"),
            Self::Pattern(pattern) => f.write_str(pattern),
        }
    }
}

serde_as_string!(Selector);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_by_name_pattern_and_group() {
        let host: Name = "web-3".parse().expect("a name");
        let groups: [Name; 1] = ["front".parse().expect("a name")];
        for (text, expected) in [
            ("*", true),
            ("web-3", true),
            ("web-*", true),
            ("*-3", true),
            ("w*b*3", true),
            ("web-3*", true),
            ("*e*e*", false),
            ("web", false),
            ("web-3*3", false),
            ("@front", true),
            ("@web", false),
        ] {
            let selector: Selector = text.parse().expect(text);
            assert_eq!(selector.selects(&host, &groups), expected, "{text}");
            assert_eq!(selector.to_string(), text);
        }
        for text in ["", "@", "@a b", "Web", "a,b", "a/b"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
