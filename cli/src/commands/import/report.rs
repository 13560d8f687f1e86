// SPDX-License-Identifier: GPL-3.0-or-later
//! What `domus import` says: one block for each configuration.

use std::fmt::Write;

use anyhow::Result;
use domus_model::xl::Note;
use serde::Serialize;

use super::{Taken, Xl};

/// How wide it is at most, in characters.
const WIDTH: usize = 80;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    host: &'a str,
    /// False with `--dry-run`.
    written: bool,
    #[serde(rename = "domUs")]
    domus: Vec<DomU<'a>>,
}

#[derive(Serialize)]
struct DomU<'a> {
    name: &'a str,
    /// The configuration of xl.
    file: String,
    /// The document's, in the repository.
    path: &'a str,
    document: &'a str,
    /// What is there otherwise than it was.
    changed: Vec<&'a Note>,
    not_carried: Vec<&'a Note>,
}

pub(super) fn json(args: &Xl, taken: &[Taken<'_>]) -> Result<String> {
    let domus = taken.iter().map(|one| {
        let (changed, not_carried) = one.imported.notes.iter().partition(|note| note.carried);
        DomU {
            name: one.imported.name.as_str(),
            file: one.file.display().to_string(),
            path: &one.path,
            document: &one.imported.document,
            changed,
            not_carried,
        }
    });
    let report = Report {
        host: args.host.as_str(),
        written: !args.dry_run,
        domus: domus.collect(),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

pub(super) fn text(args: &Xl, taken: &[Taken<'_>]) -> String {
    let mut text = String::new();
    for one in taken {
        let imported = &one.imported;
        let (name, file) = (&imported.name, one.file.display());
        let _ = writeln!(text, "{name}   {file} -> {}", one.path);
        let _ = writeln!(text, "  {}", imported.summary);
        if args.dry_run {
            for line in imported.document.lines() {
                let _ = writeln!(text, "{}", format!("    {line}").trim_end());
            }
        }
        let (changed, lost): (Vec<&Note>, Vec<&Note>) =
            imported.notes.iter().partition(|note| note.carried);
        notes(&mut text, "changed", &changed);
        notes(&mut text, "not carried", &lost);
        text.push('\n');
    }
    let written = match (args.dry_run, taken.len()) {
        (true, _) => "Nothing was written.".to_owned(),
        (false, 1) => "1 domU written; `domus check` proves it.".to_owned(),
        (false, count) => format!("{count} domUs written; `domus check` proves them."),
    };
    let _ = writeln!(text, "{written}");
    if args.image.is_none() {
        let host = &args.host;
        let _ = writeln!(
            text,
            "Their `image` is that of pservers/{host}/host.toml or domus.toml; else use --image."
        );
    }
    text
}

fn notes(text: &mut String, what: &str, notes: &[&Note]) {
    if notes.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {what}:");
    let width = |of: fn(&Note) -> usize| notes.iter().map(|note| of(note)).max().unwrap_or(0);
    let lines = width(|note| note.line.to_string().len());
    let settings = width(|note| note.setting.chars().count()).min(16);
    for note in notes {
        let start = format!(
            "    line {:>lines$}  {:settings$}  ",
            note.line, note.setting
        );
        let indent = "    line ".len() + lines + 2 + settings + 2;
        let _ = writeln!(
            text,
            "{start}{}",
            wrapped(&note.message, indent, start.len())
        );
    }
}

/// `message` in lines of at most [`WIDTH`] characters. The first begins after `column` characters,
/// the others after `indent` blanks.
fn wrapped(message: &str, indent: usize, mut column: usize) -> String {
    let mut text = String::new();
    for word in message.split(' ') {
        let length = word.chars().count();
        if !text.is_empty() && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if !text.is_empty() {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text
}
