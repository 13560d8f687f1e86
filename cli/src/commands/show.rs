// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus show`: what a host or domU comes to, and where each of its settings is written.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use domus_model::diagnostic::position;
use domus_model::files::Files;
use domus_model::fleet::Host;
use domus_model::load::Frame;
use domus_model::names::Name;
use domus_model::show::{self, Setting};
use serde::Serialize;
use serde_json::Value;

use crate::machine::{Machine, Place};
use crate::tree::Where;

/// Show a host or domU with all that it takes from groups and defaults, and where that is written
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The host or domU
    name: Name,
    #[command(flatten)]
    place: Where,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'s> {
    /// `host` or `domU`.
    kind: &'static str,
    name: &'s str,
    /// The host that a domU runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'s str>,
    /// The merged document.
    settings: Value,
    /// Where each setting is written; those not here are Domus's own defaults.
    written: Vec<Written>,
}

/// Where a setting is written. Lines and columns count from 1.
#[derive(Serialize)]
struct Written {
    setting: String,
    file: String,
    line: usize,
    column: usize,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let tree = args.place.find()?;
    let place = Place::find(&tree, &args.name)?;
    let files = &place.files;
    let name = args.name.as_str();
    let frame = Frame::read(&files.shared);
    let machine = Machine::new(&place, &frame)?;
    let (host, documents) = (&machine.host, machine.documents);
    let (settings, merged) = match machine.domu() {
        Some(domu) => (
            show::domu(&frame, documents, domu),
            serde_json::to_value(domu)?,
        ),
        None => (
            show::host(&frame, documents, host),
            serde_json::to_value(host)?,
        ),
    };
    let on = machine.domu.as_ref().map(|_| host.name.as_str());
    let text = match args.json {
        true => {
            let report = Report {
                kind: machine.kind(),
                name,
                host: on,
                settings: merged,
                written: settings
                    .iter()
                    .filter_map(|it| written(files, it))
                    .collect(),
            };
            serde_json::to_string_pretty(&report)? + "\n"
        }
        false => table(files, host, on.map(|_| name), &settings),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn written(files: &Files, setting: &Setting) -> Option<Written> {
    let place = setting.place.as_ref()?;
    let at = position(files.content(&place.file), place.start);
    Some(Written {
        setting: setting.path.clone(),
        file: place.file.to_string(),
        line: at.line,
        column: at.column,
    })
}

fn table(files: &Files, host: &Host, domu: Option<&str>, settings: &[Setting]) -> String {
    let mut text = match domu {
        Some(domu) => format!("{domu}   domU on {}\n", host.name),
        None => format!("{}   host\n", host.name),
    };
    let width = |of: fn(&Setting) -> &str| settings.iter().map(|it| of(it).chars().count()).max();
    let paths = width(|it| &it.path).unwrap_or(0);
    let values = width(|it| &it.value).unwrap_or(0).min(40);
    for setting in settings {
        let place = match written(files, setting) {
            Some(at) => format!("{}:{}", at.file, at.line),
            None => "-".to_owned(),
        };
        let (path, value) = (&setting.path, &setting.value);
        let _ = writeln!(text, "  {path:paths$}  {value:values$}  {place}");
    }
    if domu.is_none() {
        let names: Vec<&str> = host.domus.keys().map(Name::as_str).collect();
        let names = match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        let _ = writeln!(text, "  {:paths$}  {names}", "domUs");
    }
    text
}
