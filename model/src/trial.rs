// SPDX-License-Identifier: GPL-3.0-or-later
//! Trial of a generation: one that a host boots for the first time has to come up healthy, or the
//! host goes back to the last that did. Only what is on trial is judged; what was healthy once
//! stays, whatever happens around it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a host knows of the generation on trial, on its config partition.
pub const TRIAL: &str = "/config/state/trial.json";
/// There once somebody has judged what runs, healthy or not: the guard goes.
pub const JUDGED: &str = "/run/domus/judged";
/// How long after the deadline a guard waits for whoever should have judged.
pub const GRACE: Duration = Duration::from_secs(60);
/// So many boots may end without a verdict. The power may have failed in one; a generation that
/// hangs or panics each time is not tried a fourth time.
pub const MOST_BOOTS: u32 = 3;

/// What a host knows of the generation on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What git calls the statement.
    pub statement: String,
    /// How often its boot began.
    pub boots: u32,
    /// Why it was left, once it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// How the generation that shall run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It was healthy, or nothing else ever was: it is booted, and nobody goes back from it.
    Proven,
    /// It is booted once more, after this was noted.
    OnTrial(Trial),
    /// It was tried, for this reason not again.
    Failed(String),
}

impl Trial {
    /// A first one.
    pub fn new(statement: &str) -> Self {
        Self {
            statement: statement.to_owned(),
            boots: 0,
            failure: None,
        }
    }
}

/// How `running` stands, given what was `good` last and what was noted.
pub fn standing(running: &str, good: Option<&str>, noted: Option<Trial>) -> Standing {
    if good.is_none_or(|good| good == running) {
        return Standing::Proven;
    }
    let noted = noted.filter(|noted| noted.statement == running);
    let mut trial = noted.unwrap_or_else(|| Trial::new(running));
    if let Some(failure) = trial.failure {
        return Standing::Failed(failure);
    }
    if trial.boots >= MOST_BOOTS {
        return Standing::Failed(format!(
            "{MOST_BOOTS} boots of it began, and nothing is known of any of them since"
        ));
    }
    trial.boots += 1;
    Standing::OnTrial(trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(statement: &str, boots: u32, failure: Option<&str>) -> Option<Trial> {
        let failure = failure.map(str::to_owned);
        let statement = statement.to_owned();
        Some(Trial {
            statement,
            boots,
            failure,
        })
    }

    #[test]
    fn what_was_healthy_once_is_not_judged_again() {
        let old = || noted("b", 3, Some("it was not healthy"));
        assert_eq!(standing("b", Some("b"), old()), Standing::Proven);
        assert_eq!(
            standing("b", None, old()),
            Standing::Proven,
            "nowhere to go"
        );
    }

    #[test]
    fn a_new_one_has_three_boots_without_a_verdict_and_none_after_one() {
        let mut last = noted("a", 3, Some("another one's"));
        for boots in 1..=MOST_BOOTS {
            let Standing::OnTrial(trial) = standing("b", Some("a"), last) else {
                panic!("boot {boots}");
            };
            assert_eq!((trial.statement.as_str(), trial.boots), ("b", boots));
            last = Some(trial);
        }
        assert!(matches!(
            standing("b", Some("a"), last),
            Standing::Failed(_)
        ));
        let failed = noted("b", 1, Some("db is not up"));
        let why = Standing::Failed("db is not up".into());
        assert_eq!(standing("b", Some("a"), failed), why);
    }

    #[test]
    fn what_is_noted_reads_back() {
        let trial = noted("b", 2, Some("why")).expect("a trial");
        let text = serde_json::to_string(&trial).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Trial>(&text).expect("a trial"),
            trial
        );
    }
}
