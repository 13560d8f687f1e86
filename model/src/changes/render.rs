// SPDX-License-Identifier: GPL-3.0-or-later
//! What differs, for people.

use super::{Changes, Impact, Subject};
use std::collections::BTreeMap;

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// For people: a line each, and what it comes to.
    pub fn render(&self) -> String {
        if self.is_empty() {
            return "Nothing changes.\n".to_owned();
        }
        let rows = self.steps.iter().map(|step| {
            let source = step.source.as_ref();
            let what = match source {
                Some(source) => format!("{}   ({source})", step.what),
                None => step.what.clone(),
            };
            let what = match &step.subject {
                Subject::Host => what,
                Subject::DomU(name) => format!("{name}   {what}"),
            };
            (
                step.impact.word(),
                what,
                step.reason.as_deref().unwrap_or_default(),
            )
        });
        let (mut text, mut last) = (String::new(), "");
        for (word, what, reason) in rows {
            text += &format!("  {word:<8}  {what}\n");
            // What is true of several is said once.
            if !reason.is_empty() && reason != last {
                text += &format!("            {reason}\n");
            }
            last = reason;
        }
        let deeds = self.deeds();
        if !deeds.is_empty() {
            let lines: Vec<String> = deeds.iter().map(ToString::to_string).collect();
            text += &format!("\nRuns in dom0: {}.", lines.join("; "));
        }
        for name in self.refreshes() {
            let deeds = self.deeds_in(&name);
            if !deeds.is_empty() {
                let lines: Vec<String> = deeds.iter().map(ToString::to_string).collect();
                text += &format!("\nRuns in {name}: {}.", lines.join("; "));
            }
        }
        text + "\n" + &self.summary()
    }

    fn summary(&self) -> String {
        // The most that happens to a domU is what happens to it.
        let mut most: BTreeMap<&Subject, Impact> = BTreeMap::new();
        for step in &self.steps {
            let known = most.entry(&step.subject).or_insert(step.impact);
            *known = step.impact.max(*known);
        }
        let count = |impact: Impact, verb: &str| {
            let subjects = most.iter().filter(|(_, most)| **most == impact);
            let list: Vec<String> = subjects.map(|(subject, _)| subject.to_string()).collect();
            (!list.is_empty()).then(|| format!("{verb}: {}. ", list.join(", ")))
        };
        let parts = [
            count(Impact::DomuRefresh, "Refreshes"),
            count(Impact::DomuStart, "Starts"),
            count(Impact::DomuRestart, "Restarts"),
            count(Impact::DomuRecreate, "Recreated"),
            count(Impact::DomuStop, "Stops"),
        ];
        let mut text: String = parts.into_iter().flatten().collect();
        let waits = self
            .steps
            .iter()
            .any(|step| step.impact == Impact::HostReboot);
        text += match waits {
            true => "Something waits for a reboot of the host.\n",
            false => "Nothing waits for a reboot.\n",
        };
        text
    }
}
