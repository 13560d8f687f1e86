// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus check`: proves all documents of a fleet, and shows all that is wrong with them.

use crate::render;
use crate::tree::{Proved, Tree};
use anyhow::Result;
use domus_model::diagnostic::{Diagnostic, Label, Severity, position};
use domus_model::files::Files;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Prove the whole fleet: every problem of every document, with its place
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory of the fleet's repository, or one below it
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// A commit to check, straight from git's objects; without it, the files as they are
    #[arg(long, value_name = "REV")]
    at: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Exit with 2 if there are warnings, and no errors
    #[arg(long)]
    warnings_as_errors: bool,
}

/// Runs the command: exit code 0 if nothing is wrong, 1 for errors, 2 for warnings where they
/// count.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let proved = Tree::find(&args.dir, args.at.as_deref())?.prove()?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let report = Report::new(&proved);
        writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let notes = &proved.diagnostics;
        let colour = render::wants_colour(&stdout);
        write!(
            stdout,
            "{}",
            render::diagnostics(&proved.files, notes, colour)
        )?;
        writeln!(stdout, "{}", render::summary(proved.counts, notes))?;
    }
    Ok(match render::tally(&proved.diagnostics) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) if args.warnings_as_errors => ExitCode::from(2),
        (0, _) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'c> {
    /// The fleet's name, if there is no error.
    fleet: Option<&'c str>,
    hosts: usize,
    domus: usize,
    images: usize,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Problem<'c>>,
}

/// A problem, with its primary place.
#[derive(Serialize)]
struct Problem<'c> {
    severity: Severity,
    message: &'c str,
    #[serde(flatten)]
    place: Option<Place<'c>>,
    help: Option<&'c str>,
    /// Places that explain it.
    related: Vec<Place<'c>>,
}

/// Lines and columns count from 1, columns in characters; the end is the first column after it.
#[derive(Serialize)]
struct Place<'c> {
    file: &'c str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    remark: &'c str,
}

impl<'c> Report<'c> {
    fn new(proved: &'c Proved) -> Self {
        let (errors, warnings) = render::tally(&proved.diagnostics);
        let (files, problems) = (&proved.files, proved.diagnostics.iter());
        Self {
            fleet: proved.fleet.as_ref().map(|fleet| fleet.name.as_str()),
            hosts: proved.counts.hosts,
            domus: proved.counts.domus,
            images: proved.counts.images,
            errors,
            warnings,
            diagnostics: problems.map(|note| Problem::new(files, note)).collect(),
        }
    }
}

impl<'c> Problem<'c> {
    fn new(files: &Files, note: &'c Diagnostic) -> Self {
        let mut places = note.labels.iter().map(|label| Place::new(files, label));
        Self {
            severity: note.severity,
            message: &note.message,
            place: places.next(),
            help: note.help.as_deref(),
            related: places.collect(),
        }
    }
}

impl<'c> Place<'c> {
    fn new(files: &Files, label: &'c Label) -> Self {
        let content = files.content(&label.file);
        let start = position(content, label.span.start);
        let end = position(content, label.span.end);
        Self {
            file: &label.file,
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            remark: &label.text,
        }
    }
}
