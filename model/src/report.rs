// SPDX-License-Identifier: GPL-3.0-or-later
//! What a domU says about itself, as one XenStore value that dom0 reads.
//!
//! A guest may write only below its own `data/`, and a value may not exceed 2048 bytes
//! (oxenstored's quota). dom0 does not trust it: it is parsed strictly and only shown.

use serde::{Deserialize, Serialize};

use crate::fleet::Kind;
use crate::names::ImageRef;
use crate::units::Mac;

/// The node a guest writes, relative to its own directory `/local/domain/ID`.
pub const REPORT_NODE: &str = "data/domus/report";
/// Longest report, in bytes.
pub const REPORT_LIMIT: usize = 2048;

/// A domU's own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Domus protocol version of the image: 1.
    pub version: u32,
    /// How the guest sees itself running (`/sys/hypervisor/guest_type`).
    pub kind: Kind,
    /// Memory that Xen gave it, in MiB, as its own kernel sees it.
    pub memory_mib: u64,
    /// CPUs on line.
    pub vcpus: u32,
    /// Addresses of its network cards.
    pub macs: Vec<Mac>,
    /// The image it runs, as the image itself says.
    pub image: ImageRef,
    /// The commit its `/etc` was composed from.
    pub commit: String,
    /// Whether a write to `/` was tried and refused as read-only.
    pub root_read_only: bool,
    /// Why its health command failed, if it has one and it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ill: Option<String>,
    /// Whether it takes another configuration while it runs. Images that are older do not.
    #[serde(default)]
    pub refreshes: bool,
    /// What came of the last one that it was told to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed: Option<Refreshed>,
}

/// What came of taking another configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refreshed {
    /// The number of what it was told.
    pub id: u64,
    /// Why it was not taken, or what could not be run then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The most that is reported of why something failed, in characters.
const REASON_LIMIT: usize = 300;

/// `text` as a report has it: its beginning, without line breaks and the like.
pub fn reason(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(REASON_LIMIT).collect()
}

impl Report {
    /// Reads what a guest wrote.
    ///
    /// # Errors
    /// It is too long or no report; in words, without the guest's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > REPORT_LIMIT {
            return Err(format!("its report exceeds {REPORT_LIMIT} bytes"));
        }
        let report: Self = serde_json::from_str(text)
            .map_err(|error| format!("its report cannot be read (column {})", error.column()))?;
        match report.version {
            1 => Ok(report),
            other => Err(format!(
                "its report has version {other}, this release knows 1"
            )),
        }
    }

    /// The value to write.
    pub fn render(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_and_refuses_what_is_foreign() {
        let report = Report {
            version: 1,
            kind: Kind::Pvh,
            memory_mib: 104,
            vcpus: 1,
            macs: vec!["00:16:3e:5a:01:07".parse().expect("mac")],
            image: "base@1".parse().expect("image"),
            commit: "8c1d02e".into(),
            root_read_only: true,
            ill: Some(reason(&"\u{7}\"\\".repeat(400))),
            refreshes: true,
            refreshed: Some(Refreshed {
                id: u64::MAX,
                failure: Some(reason(&"x\n".repeat(400))),
            }),
        };
        assert_eq!(Report::parse(&report.render()), Ok(report));
        let older = r#"{"version":1,"kind":"pv","memory_mib":88,"vcpus":2,"macs":[],"image":"base@1","commit":"8c1d02e","root_read_only":true}"#;
        let older = Report::parse(older).expect("what older images report");
        assert!(!older.refreshes);
        assert!(Report::parse("{}").is_err());
        assert!(
            Report::parse("\u{1b}[2J")
                .expect_err("no JSON")
                .contains("cannot be read")
        );
        assert!(
            Report::parse(&" ".repeat(4096))
                .expect_err("long")
                .contains("exceeds")
        );
    }
}
