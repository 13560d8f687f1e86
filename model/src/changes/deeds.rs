// SPDX-License-Identifier: GPL-3.0-or-later
//! What is run in dom0, or in a domU, after its files changed: each of it once, in an order that holds
//! for all.

use super::{Changes, Subject};
use crate::names::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Something that is run. They are in the order in which they are done: what stops does so
/// while systemd still knows its unit, and what starts finds everything else in place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Stops a unit.
    Stop(String),
    /// Lets systemd read its units anew.
    ReadUnits,
    /// Makes the files and directories of tmpfiles.d.
    MakeFiles,
    /// Loads the firewall's rules, all or none; also where loading them failed before.
    ReadFirewall,
    /// Lets systemd-networkd read its files anew.
    ReadNetworks,
    /// Reloads a unit that runs, or restarts it if it cannot be reloaded.
    Reload(String),
    /// Restarts a unit that runs.
    Restart(String),
    /// Starts a unit.
    Start(String),
}

impl Deed {
    /// The program and its arguments: systemctl(1), networkctl(1), systemd-tmpfiles(8).
    pub fn command(&self) -> Vec<&str> {
        match self {
            Self::Stop(unit) => vec!["systemctl", "stop", unit],
            Self::ReadUnits => vec!["systemctl", "daemon-reload"],
            Self::MakeFiles => vec!["systemd-tmpfiles", "--create"],
            Self::ReadNetworks => vec!["networkctl", "reload"],
            Self::ReadFirewall => vec!["systemctl", "reload-or-restart", "nftables.service"],
            Self::Reload(unit) => vec!["systemctl", "try-reload-or-restart", unit],
            Self::Restart(unit) => vec!["systemctl", "try-restart", unit],
            Self::Start(unit) => vec!["systemctl", "start", unit],
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command().join(" "))
    }
}

/// All of these in their order, each once: of what is done to one unit, the most.
pub fn in_order(deeds: impl IntoIterator<Item = Deed>) -> Vec<Deed> {
    let all: BTreeSet<Deed> = deeds.into_iter().collect();
    let is_less = |deed: &Deed| match deed {
        Deed::Stop(unit) => all.contains(&Deed::Start(unit.clone())),
        Deed::Reload(unit) | Deed::Restart(unit) => {
            let more = [Deed::Stop(unit.clone()), Deed::Start(unit.clone())];
            more.iter().any(|more| all.contains(more))
                || matches!(deed, Deed::Reload(_)) && all.contains(&Deed::Restart(unit.clone()))
        }
        _ => false,
    };
    all.iter().filter(|deed| !is_less(deed)).cloned().collect()
}

impl Changes {
    /// What is run in dom0.
    pub fn deeds(&self) -> Vec<Deed> {
        self.deeds_of(&Subject::Host)
    }

    /// What is run in a domU that takes them while it runs.
    pub fn deeds_in(&self, domu: &Name) -> Vec<Deed> {
        self.deeds_of(&Subject::DomU(domu.clone()))
    }

    fn deeds_of(&self, subject: &Subject) -> Vec<Deed> {
        let steps = self.steps.iter().filter(|step| step.subject == *subject);
        in_order(steps.flat_map(|step| step.does.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_and_in_order() {
        let unit = || "a.service".to_owned();
        let lines = |deeds: &[Deed]| -> Vec<String> {
            let ordered = in_order(deeds.iter().cloned());
            ordered.iter().map(Deed::to_string).collect()
        };
        let (stop, start) = (Deed::Stop(unit()), Deed::Start(unit()));
        let (reload, restart) = (Deed::Reload(unit()), Deed::Restart(unit()));
        let cases: [(&[Deed], &[&str]); 5] = [
            (
                &[
                    Deed::Start("b.service".into()),
                    reload.clone(),
                    Deed::ReadUnits,
                    reload.clone(),
                ],
                &[
                    "systemctl daemon-reload",
                    "systemctl try-reload-or-restart a.service",
                    "systemctl start b.service",
                ],
            ),
            (
                &[reload, restart.clone()],
                &["systemctl try-restart a.service"],
            ),
            (
                &[restart.clone(), stop.clone()],
                &["systemctl stop a.service"],
            ),
            (&[stop, start.clone()], &["systemctl start a.service"]),
            (&[restart, start], &["systemctl start a.service"]),
        ];
        for (deeds, expected) in cases {
            assert_eq!(lines(deeds), expected, "{deeds:?}");
        }
    }
}
