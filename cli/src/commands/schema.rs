// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus schema`: JSON Schemas of the documents, for editors.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use domus_model::schema::{Schema, schemas};

/// Print the JSON Schemas of the documents, or write them to files for an editor
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kind of document: domus, host, domU, etc, image, trust, lock or media. Without it, all in one object
    kind: Option<String>,
    /// Write KIND.schema.json into this directory instead, which is made if need be
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wanted = |schema: &Schema| args.kind.as_deref().is_none_or(|kind| kind == schema.name);
    let all = schemas();
    let chosen: Vec<&Schema> = all.iter().filter(|schema| wanted(schema)).collect();
    if chosen.is_empty() {
        let kinds: Vec<&str> = all.iter().map(|schema| schema.name).collect();
        bail!(
            "there is no such kind of document; there are: {}",
            kinds.join(", ")
        );
    }
    if let Some(dir) = &args.output {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        for schema in chosen {
            let path = dir.join(format!("{}.schema.json", schema.name));
            let text = serde_json::to_string_pretty(&schema.schema)? + "\n";
            domus_system::atomic::write(&path, text.as_bytes(), 0o644)?;
            println!("{}   for {}", path.display(), schema.paths);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let text = match (&args.kind, &chosen[..]) {
        (Some(_), [schema]) => serde_json::to_string_pretty(&schema.schema)?,
        _ => {
            let all = chosen
                .iter()
                .map(|it| (it.name.to_owned(), it.schema.clone()));
            serde_json::to_string_pretty(&all.collect::<serde_json::Map<_, _>>())?
        }
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
