// SPDX-License-Identifier: GPL-3.0-or-later
//! Golden tests: one directory of `cases/` for each kind of bad input. A case holds the documents
//! in which it differs from `base/`, and in `expected.txt` what `check` says about it.
//! `UPDATE_EXPECTED=1 cargo test -p domus-model` writes that file anew.

mod repository;

use domus_model::diagnostic::{Diagnostic, Label, Severity, position};
use domus_model::files::Files;
use domus_model::load::check;
use repository::{add, manifest_dir, sorted};
use std::fmt::Write;
use std::fs;
use std::io;

#[test]
fn cases_are_as_expected() -> io::Result<()> {
    let tests = manifest_dir().join("tests");
    let mut failed = Vec::new();
    for case in sorted(&tests.join("cases")) {
        let mut files = Files::new();
        add(&mut files, &tests.join("base"), "");
        add(&mut files, &case, "");
        let said = report(&files);
        let expected = case.join("expected.txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said)?;
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            failed.push(format!("{}:\n{said}", case.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// What `check` says, without colours and source lines.
fn report(files: &Files) -> String {
    let checked = check(files);
    let errors = |note: &Diagnostic| note.severity == Severity::Error;
    let has_errors = checked.diagnostics.iter().any(errors);
    assert_eq!(checked.fleet.is_none(), has_errors);
    let mut said = String::new();
    for note in &checked.diagnostics {
        let severity = format!("{:?}", note.severity).to_lowercase();
        let _ = writeln!(said, "{severity}: {}", note.message);
        for label in &note.labels {
            let _ = writeln!(said, "  {}", place(files, label));
        }
        let _ = writeln!(said, "  help: {}\n", note.help.as_deref().unwrap_or("-"));
    }
    let counts = checked.counts;
    let (hosts, domus, images) = (counts.hosts, counts.domus, counts.images);
    let _ = writeln!(said, "{hosts} hosts, {domus} domUs, {images} images");
    said
}

fn place(files: &Files, label: &Label) -> String {
    let content = files.content(&label.file);
    if label.is_whole_file() {
        return format!("{} {}", label.file, label.text);
    }
    let at = position(content, label.span.start);
    let text = String::from_utf8_lossy(&content[label.span.clone()]).into_owned();
    let text = text.lines().next().unwrap_or_default().escape_debug();
    format!(
        "{}:{}:{} {text} {}",
        label.file, at.line, at.column, label.text
    )
}
