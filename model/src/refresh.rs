// SPDX-License-Identifier: GPL-3.0-or-later
//! What dom0 tells a guest that runs: its config disk has another configuration, which it is to take.
//! The guest answers in its [report](crate::report).

use serde::{Deserialize, Serialize};

use crate::changes::Deed;
use crate::report::REPORT_LIMIT;

/// The node that dom0 writes, relative to the guest's own directory `/local/domain/ID`. A guest reads
/// it and cannot write it.
pub const REFRESH_NODE: &str = "domus/refresh";

/// What the guest is to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// Another number each time, which the answer has.
    pub id: u64,
    /// The commit that the config disk has now.
    pub commit: String,
    /// What is run in the guest then.
    pub run: Vec<Deed>,
}

impl Refresh {
    /// The value to write; nothing if XenStore has no room for so much.
    pub fn render(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text.len() <= REPORT_LIMIT).then_some(text)
    }

    /// Reads what dom0 wrote.
    ///
    /// # Errors
    /// It is nothing that this image understands; in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("what dom0 says is not understood: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_survives_the_way() {
        let mut refresh = Refresh {
            id: 7,
            commit: "8c1d02e".into(),
            run: vec![Deed::ReadUnits, Deed::Restart("web.service".into())],
        };
        let text = refresh.render().expect("it fits");
        assert_eq!(Refresh::parse(&text), Ok(refresh.clone()));
        refresh.run = vec![Deed::Start("x".repeat(200)); 20];
        assert_eq!(refresh.render(), None);
        assert!(Refresh::parse("{}").is_err());
    }
}
