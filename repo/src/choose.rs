// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of a host's generations is booted: what shall run, if that can be believed and is whole;
//! else the last that came up; else the newest that can.

use anyhow::{Result, bail};
use domus_model::boot::StatementNote;

use crate::{Judge, Repo, SEEN_REF, Statement};

/// What was chosen.
#[derive(Debug)]
pub struct Chosen<T> {
    /// What is booted.
    pub statement: Statement,
    /// Who signed it.
    pub note: StatementNote,
    /// What was made of it.
    pub found: T,
    /// What was not taken and why, in sentences.
    pub refused: Vec<String>,
}

impl Judge {
    /// Tries one generation after the other until `attempt` succeeds with one that may be run, the
    /// statement `worst` last.
    ///
    /// # Errors
    /// There is none; with what was tried.
    pub fn choose<T>(
        &self,
        repo: &Repo,
        worst: Option<&str>,
        mut attempt: impl FnMut(&Statement) -> Result<T>,
    ) -> Result<Chosen<T>> {
        let mut judge = self.clone();
        let mut refused = Vec::new();
        let seen = repo.seen().and_then(|seen| match seen {
            Some(seen) => judge.learn(repo, &seen),
            None => Ok(()),
        });
        if let Err(error) = seen {
            refused.push(format!("{SEEN_REF}: {error:#}"));
        }
        for (name, id) in repo.candidates(worst) {
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
}
