// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus explain`: which layer gives a file in `/etc`, who wrote it, and what it hides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use domus_model::diagnostic::position;
use domus_model::explain::{self, Explanation, What};
use domus_model::files::Files;
use domus_model::layers::variables;
use domus_model::load::Frame;
use domus_model::names::Name;
use domus_model::show::{self, Setting};
use domus_repo::{Change, Repo};
use serde::Serialize;

use crate::machine::{Machine, Place};
use crate::tree::{Tree, Where};

/// Show which layer gives a file in /etc of a host or domU, who wrote it, and what it hides
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The host or domU
    name: Name,
    /// The file or directory, as /etc/motd
    path: String,
    #[command(flatten)]
    place: Where,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'r> {
    name: &'r Name,
    #[serde(flatten)]
    explanation: &'r Explanation,
    /// The last change of each source; none of what is not committed.
    changes: &'r BTreeMap<String, Option<Change>>,
    /// What fills the template that is seen.
    variables: Vec<Variable>,
}

#[derive(Serialize)]
struct Variable {
    name: String,
    value: String,
    /// Where it is written, `FILE:LINE`.
    place: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let tree = args.place.find()?;
    let place = Place::find(&tree, &args.name)?;
    let files = &place.files;
    let frame = Frame::read(&files.shared);
    let machine = Machine::new(&place, &frame)?;
    let Some(fleet) = frame.fleet() else {
        bail!("domus.toml has errors: see `domus check`");
    };
    let path = explain::path_of(&args.path);
    if path.is_empty() {
        bail!("{} is no path in /etc; write it as /etc/motd", args.path);
    }
    let has_hosts = files.shared.contains("global/hosts");
    let explanation = match machine.domu() {
        Some(domu) => explain::domu(&fleet, domu, has_hosts, path),
        None => explain::host(&fleet, &machine.host, has_hosts, path),
    };
    let changes = changes(&tree, &explanation)?;
    let settings = match machine.domu() {
        Some(domu) => show::domu(&frame, machine.documents, domu),
        None => show::host(&frame, machine.documents, &machine.host),
    };
    let report = Report {
        name: &args.name,
        variables: filled(files, &explanation, &settings),
        explanation: &explanation,
        changes: &changes,
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.render(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Who changed each source last. What lies outside of git, or was changed since, has nobody.
fn changes(tree: &Tree, explanation: &Explanation) -> Result<BTreeMap<String, Option<Change>>> {
    let sources = explanation
        .says
        .iter()
        .filter_map(|say| say.source.as_ref());
    let (repo, commit, work) = match tree {
        Tree::Commit { repo, id } => (Repo::discover(repo)?, id.clone(), None),
        Tree::Work(root) => {
            let Ok(repo) = Repo::discover(root) else {
                return Ok(sources.map(|source| (source.clone(), None)).collect());
            };
            let Ok(head) = repo.commit("HEAD") else {
                return Ok(sources.map(|source| (source.clone(), None)).collect());
            };
            (repo, head.id, Some(root))
        }
    };
    let change = |source: &String| {
        let is_own = match work {
            Some(root) => repo.has_file(&commit, source, &root.join(source))?,
            None => true,
        };
        let change = match is_own {
            true => repo.last_change(&commit, source)?,
            false => None,
        };
        Ok((source.clone(), change))
    };
    sources.map(change).collect()
}

/// The variables of the template that is seen.
fn filled(files: &Files, explanation: &Explanation, settings: &[Setting]) -> Vec<Variable> {
    let template = explanation
        .says
        .first()
        .filter(|say| say.what == What::Template);
    let Some(source) = template.and_then(|say| say.source.as_ref()) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(files.content(source));
    let variables = variables(&text).into_iter().filter_map(|name| {
        let setting = settings
            .iter()
            .find(|it| it.path == format!("vars.{name}"))?;
        let place = setting.place.as_ref().map(|place| {
            let line = position(files.content(&place.file), place.start).line;
            format!("{}:{line}", place.file)
        });
        let value = setting.value.clone();
        Some(Variable { name, value, place })
    });
    variables.collect()
}

impl Report<'_> {
    fn render(&self) -> String {
        let changed = |source: &str| {
            let change = self.changes.get(source)?.as_ref()?;
            Some(change.shown())
        };
        let mut text = self.explanation.render(self.name.as_str(), changed);
        for variable in &self.variables {
            let Variable { name, value, place } = variable;
            let place = place.as_deref().unwrap_or("-");
            let _ = writeln!(text, "  {{{{ {name} }}}} is {value}   {place}");
        }
        text + &self.explanation.conclusion()
    }
}
