// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of a partition's generations is booted: what shall run, if that can be believed and is
//! whole; else the last that came up; else the newest that can.

use anyhow::{Result, bail};
use domus_model::boot::StatementNote;
use domus_repo::{Judge, Repo, SEEN_REF, Statement};

/// What was chosen.
pub(crate) struct Chosen<T> {
    /// What is booted.
    pub(crate) statement: Statement,
    /// Who signed it.
    pub(crate) note: StatementNote,
    /// What was made of it.
    pub(crate) found: T,
    /// What was not taken, and why.
    pub(crate) refused: Vec<String>,
}

/// Tries one generation after the other until `attempt` succeeds with one that may be run.
pub(crate) fn choose<T>(
    repo: &Repo,
    judge: &Judge,
    mut attempt: impl FnMut(&Statement) -> Result<T>,
) -> Result<Chosen<T>> {
    let mut judge = judge.clone();
    let mut refused = Vec::new();
    let seen = repo.seen().and_then(|seen| match seen {
        Some(seen) => judge.learn(repo, &seen),
        None => Ok(()),
    });
    if let Err(error) = seen {
        refused.push(format!("{SEEN_REF}: {error:#}"));
    }
    for (name, id) in repo.candidates() {
        let tried = id.and_then(|id| {
            let statement = repo.statement(&id)?;
            let note = judge.judge(repo, &statement)?;
            let found = attempt(&statement)?;
            Ok((statement, note, found))
        });
        match tried {
            Ok((statement, note, found)) => {
                return Ok(Chosen {
                    statement,
                    note,
                    found,
                    refused,
                });
            }
            Err(error) => refused.push(format!("{name}: {error:#}")),
        }
    }
    bail!("nothing on it can be run:\n    {}", refused.join("\n    "))
}
