// SPDX-License-Identifier: GPL-3.0-or-later
//! `generations` and `rollback`: what this host booted and boots.

use anyhow::{Context as _, Result};
use domus_model::status::short;
use domus_model::table::table;
use domus_repo::{Generation, Repo};
use serde::Serialize;

use crate::context::Context;
use crate::slots::Slots;

/// The generations of this host.
#[derive(Debug, Serialize)]
pub(crate) struct Generations {
    host: String,
    /// The commit that was booted.
    booted: String,
    /// The commit that runs: that one, or one that was taken since.
    applied: String,
    /// All of them; `running` is what is booted next.
    generations: Vec<Generation>,
    /// Which slot of its medium it runs from; none if that has none.
    slots: Option<Slots>,
    /// The release that runs.
    release: Option<String>,
}

impl Generations {
    /// Reads them from the config partition.
    ///
    /// # Errors
    /// The repository there is damaged.
    pub(crate) fn find(context: &Context) -> Result<Self> {
        Ok(Self {
            host: context.host.name.to_string(),
            booted: context.booted.clone(),
            applied: context.commit.clone(),
            generations: Repo::open(&context.paths.repo())?.generations()?,
            slots: Slots::find(context),
            release: context.release.clone(),
        })
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people: the newest first.
    pub(crate) fn render(&self) -> String {
        let rows = self.generations.iter().rev().map(|it| {
            let runs = it.commit.id == self.applied;
            let target = it.serial.map_or(String::new(), |it| it.to_string());
            let states = [
                (runs && it.running, "runs"),
                (runs && !it.running, "runs until the next boot"),
                (!runs && it.running, "is booted next"),
                (!runs && it.commit.id == self.booted, "was booted"),
                (it.good, "healthy"),
            ];
            let states = states
                .iter()
                .filter(|(holds, _)| *holds)
                .map(|(_, word)| *word);
            vec![
                it.number.to_string(),
                target,
                short(&it.commit.id).to_owned(),
                states.collect::<Vec<_>>().join(", "),
                it.commit.summary.clone(),
            ]
        });
        let mut rows: Vec<Vec<String>> = rows.collect();
        let mut titles = vec!["generation", "target", "commit", "state", "message"];
        if self.generations.iter().all(|it| it.serial.is_none()) {
            titles.remove(1);
            rows.iter_mut().for_each(|row| drop(row.remove(1)));
        }
        let mut text = table(&titles, &rows);
        if let (Some(slots), Some(release)) = (&self.slots, &self.release) {
            text += &format!("release {release}   {}\n", slots.word());
            slots
                .lines()
                .iter()
                .for_each(|line| text += &format!("{line}\n"));
        }
        text
    }
}

/// Goes back to the generation of this number or commit, or to the one before that which is booted next.
///
/// # Errors
/// There is none, or the config partition cannot be written.
pub(crate) fn roll_back(context: &Context, wanted: Option<&str>) -> Result<String> {
    let (_lock, repo) = context.repository()?;
    let generation = repo.go_back(wanted)?;
    let (number, commit) = (generation.number, short(&generation.commit.id));
    let held = repo
        .held()?
        .context("what was gone back from is not held")?;
    let held = repo.statement(&held)?;
    let (held, newer) = match &held.target {
        Some(target) => (format!("target {}", target.serial), "one"),
        None => (short(&held.commit.id).to_owned(), "commit"),
    };
    Ok(format!(
        "{}   generation {number} ({commit}) is booted next\n\
         {held} is not taken again by itself, a newer {newer} is.\n",
        context.host.name
    ))
}
