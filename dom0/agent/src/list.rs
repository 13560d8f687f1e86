// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 list`: what runs on this host, in a line each.

use anyhow::Result;
use domus_model::reconcile::Moment;
use domus_model::status::DomuStatus;
use domus_model::table::table;
use serde::Serialize;

use crate::context::Context;
use crate::keep;
use crate::notes::Notes;
use crate::observe::Observer;
use crate::{status, strays};

/// A domU, or a domain that nobody declared.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// What it is; `stray` if nobody declared it.
    state: String,
    domain: Option<u32>,
    memory_mib: Option<u64>,
    vcpus: Option<u32>,
    /// How long it has been up, in seconds.
    up_seconds: Option<Moment>,
}

/// What runs on this host.
#[derive(Debug)]
pub(crate) struct List(Vec<Line>);

impl List {
    /// Looks.
    ///
    /// # Errors
    /// Neither libvirt nor XenStore answers.
    pub(crate) fn find(context: &Context) -> Result<Self> {
        let mut observer = Observer::new(context);
        let domains = observer.domains()?;
        let domus = status::domus(context, &mut observer, &domains)?;
        let mut lines: Vec<Line> = domus.into_iter().map(|it| line(context, it)).collect();
        for stray in strays::find(context, &mut observer, &domains) {
            lines.push(Line {
                name: stray.name,
                state: "stray".to_owned(),
                domain: Some(stray.id),
                memory_mib: None,
                vcpus: None,
                up_seconds: None,
            });
        }
        Ok(Self(lines))
    }

    /// One JSON array.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.0)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let row = |line: &Line| {
            vec![
                line.name.clone(),
                line.state.clone(),
                or_none(line.domain.map(|id| id.to_string())),
                or_none(line.memory_mib.map(|mib| format!("{mib} MiB"))),
                or_none(line.vcpus.map(|vcpus| vcpus.to_string())),
                or_none(line.up_seconds.map(in_words)),
            ]
        };
        let rows: Vec<Vec<String>> = self.0.iter().map(row).collect();
        table(
            &["domU", "state", "domain", "memory", "vcpus", "up for"],
            &rows,
        )
    }
}

fn line(context: &Context, domu: DomuStatus) -> Line {
    let run = Notes::on(&context.paths, &domu.name).record().run;
    let up = run.filter(|run| Some(run.id) == domu.domain);
    Line {
        name: domu.name.to_string(),
        state: domu.state.to_string(),
        domain: domu.domain,
        memory_mib: Some(domu.memory_mib),
        vcpus: Some(domu.vcpus),
        up_seconds: up.and_then(|run| Some(keep::now().saturating_sub(run.up?))),
    }
}

/// In the two largest units.
fn in_words(seconds: Moment) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_two_units() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_661, "1 h 1 min"),
            (200_000, "2 d 7 h"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }
}
