// SPDX-License-Identifier: GPL-3.0-or-later
//! `Hosts`: a host by its name, or all of a group.

use super::Name;
use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::fmt;
use std::str::FromStr;

/// One host, written as its name, or the hosts of a group, written `@GROUP`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hosts {
    /// The host of this name.
    One(Name),
    /// Those of this group.
    Group(Name),
}

impl Hosts {
    /// Whether a host is meant: its name, and the groups that it is in.
    pub fn means(&self, host: &Name, groups: &[Name]) -> bool {
        match self {
            Self::One(name) => name == host,
            Self::Group(group) => groups.contains(group),
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => f.pad(name.as_str()),
            Self::Group(name) => f.pad(&format!("@{name}")),
        }
    }
}

impl FromStr for Hosts {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let name = text.strip_prefix('@').unwrap_or(text);
        match name.parse() {
            Ok(name) if text.starts_with('@') => Ok(Self::Group(name)),
            Ok(name) => Ok(Self::One(name)),
            Err(BadValue { advice, .. }) => {
                let problem = format!("{} is neither a host nor a group", quoted(text));
                Err(BadValue::new(
                    problem,
                    format!("{advice}; with @ before that of a group"),
                ))
            }
        }
    }
}

serde_as_string!(Hosts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_host_or_a_group() {
        let name: Name = "web".parse().expect("a name");
        assert_eq!("web".parse(), Ok(Hosts::One(name.clone())));
        assert_eq!("@web".parse(), Ok(Hosts::Group(name)));
        for text in ["web", "@web"] {
            assert_eq!(
                text.parse::<Hosts>().map(|it| it.to_string()),
                Ok(text.to_owned())
            );
        }
        for bad in ["", "@", "@@web", "web*", "Web"] {
            assert!(bad.parse::<Hosts>().is_err(), "{bad}");
        }
    }
}
