// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU that goes from one host to another: what each of them remembers of it, and why it is not
//! started here. The old host never starts it again, whatever commit it goes back to; the new one
//! does not before the old one said so and its volumes came.

use serde::{Deserialize, Serialize};

use crate::fleet::DomU;
use crate::names::Name;

/// What a host remembers of a domU that left it or came to it, for as long as its config partition
/// lives; the last of both. Without it, a domU is where its document is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mark {
    /// It left, and nothing starts it here.
    Left {
        /// The host that it went to.
        to: Name,
    },
    /// It came, with its volumes.
    Arrived {
        /// The host that it came from.
        from: Name,
    },
}

/// Why a domU is not started here, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Away {
    /// It left for this host.
    Left(Name),
    /// It is to come from this host, and did not yet.
    Expected(Name),
    /// What is remembered of it cannot be read; why.
    Unknown(String),
}

impl Away {
    /// Whether `domu`, of which this is remembered, is not to be started here.
    pub fn of(domu: &DomU, mark: Option<&Mark>) -> Option<Self> {
        match (mark, &domu.moved_from) {
            (Some(Mark::Left { to }), None) => Some(Self::Left(to.clone())),
            (Some(Mark::Arrived { from }), Some(wanted)) if from == wanted => None,
            (_, Some(from)) => Some(Self::Expected(from.clone())),
            (Some(Mark::Arrived { .. }) | None, None) => None,
        }
    }

    /// In a sentence, with what to do.
    pub fn reason(&self, domu: &Name) -> String {
        match self {
            Self::Left(to) => format!(
                "it left for {to} and never starts here again; `domus move {domu}` brings it back"
            ),
            Self::Expected(from) => format!(
                "it has not come from {from} yet: `domus move {domu}` stops it there and brings \
                 its volumes"
            ),
            Self::Unknown(why) => why.clone(),
        }
    }
}

/// Whether a domU came to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The domU.
    #[serde(rename = "domU")]
    pub domu: Name,
    /// The host that it goes to.
    pub host: Name,
    /// The host that it comes from.
    pub from: Name,
    /// Whether it came; else that host expects it.
    pub arrived: bool,
}

impl Arrival {
    /// For people.
    pub fn render(&self) -> String {
        let Self {
            domu, host, from, ..
        } = self;
        match self.arrived {
            true => format!("{domu}   came from {from} to {host}\n"),
            false => format!("{domu}   did not come from {from} to {host} yet\n"),
        }
    }
}

/// A host's word that it never starts a domU again, and which of its volumes are there to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departed {
    /// The domU.
    #[serde(rename = "domU")]
    pub domu: Name,
    /// The host that it left.
    pub host: Name,
    /// The host that it goes to.
    pub to: Name,
    /// Its disks that have volumes there, by their names.
    pub volumes: Vec<Name>,
}

impl Departed {
    /// For people.
    pub fn render(&self) -> String {
        let Self {
            domu,
            host,
            to,
            volumes,
        } = self;
        let volumes = match volumes.as_slice() {
            [] => "no volumes".to_owned(),
            some => some.iter().map(Name::as_str).collect::<Vec<_>>().join(", "),
        };
        format!("{domu}   left {host} for {to}   to be taken: {volumes}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn left(to: &str) -> Mark {
        Mark::Left { to: name(to) }
    }

    fn arrived(from: &str) -> Mark {
        Mark::Arrived { from: name(from) }
    }

    fn away(moved_from: Option<&str>, mark: Option<&Mark>) -> Option<Away> {
        let mut domu = DomU::new(name("web"), "base@1".parse().expect("an image"));
        domu.moved_from = moved_from.map(name);
        Away::of(&domu, mark)
    }

    #[test]
    fn it_is_where_its_document_is_until_it_moves() {
        assert_eq!(away(None, None), None);
        let to_beta = Some(Away::Left(name("beta")));
        assert_eq!(away(None, Some(&left("beta"))), to_beta);
        assert_eq!(away(None, Some(&arrived("gamma"))), None);
    }

    #[test]
    fn it_starts_on_the_new_host_once_it_came_from_the_one_that_is_said() {
        let expected = Some(Away::Expected(name("alpha")));
        for mark in [None, Some(left("alpha")), Some(arrived("gamma"))] {
            assert_eq!(away(Some("alpha"), mark.as_ref()), expected, "{mark:?}");
        }
        assert_eq!(away(Some("alpha"), Some(&arrived("alpha"))), None);
    }

    #[test]
    fn marks_are_read_as_they_are_written() {
        for (mark, text) in [
            (left("beta"), r#"{"is":"left","to":"beta"}"#),
            (arrived("alpha"), r#"{"is":"arrived","from":"alpha"}"#),
        ] {
            assert_eq!(serde_json::to_string(&mark).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<Mark>(text).expect("a mark"), mark);
        }
        for bad in [
            r#"{"is":"left"}"#,
            r#"{"is":"gone"}"#,
            "",
            r#"{"is":"left","to":"b","x":1}"#,
        ] {
            assert!(serde_json::from_str::<Mark>(bad).is_err(), "{bad}");
        }
    }
}
