// SPDX-License-Identifier: GPL-3.0-or-later
//! `ImageRef`: one revision of an image.

use super::Name;
use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::fmt;
use std::str::FromStr;

/// One revision of a domU image, written `NAME@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// The image's name, that of its recipe `images/NAME.toml`.
    pub name: Name,
    /// The recipe's revision, from 1.
    pub revision: u32,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.name, self.revision))
    }
}

impl FromStr for ImageRef {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refuse = |advice: String| {
            let problem = format!("{} is no revision of an image", quoted(text));
            Err(BadValue::new(problem, advice))
        };
        let Some((name, revision)) = text.split_once('@') else {
            let name = Name::nearest(text).map_or("web".to_owned(), |name| name.to_string());
            return refuse(format!("write NAME@REVISION, as \"{name}@1\""));
        };
        let name: Name = match name.parse() {
            Ok(name) => name,
            Err(BadValue { advice, .. }) => return refuse(format!("for the name, {advice}")),
        };
        match revision.parse() {
            Ok(number @ 1..) if revision.starts_with(|c: char| matches!(c, '1'..='9')) => {
                Ok(Self {
                    name,
                    revision: number,
                })
            }
            _ => refuse(format!(
                "write the revision as a number from 1, as \"{name}@1\""
            )),
        }
    }
}

serde_as_string!(ImageRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_name_and_a_revision() -> Result<(), BadValue> {
        let image: ImageRef = "web@7".parse()?;
        assert_eq!((image.name.as_str(), image.revision), ("web", 7));
        assert_eq!(image.to_string(), "web@7");
        for bad in [
            "web",
            "web@",
            "web@0",
            "web@07",
            "web@+7",
            "Web@7",
            "@7",
            "web@4294967296",
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
        Ok(())
    }
}
