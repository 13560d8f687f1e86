// SPDX-License-Identifier: GPL-3.0-or-later
//! Diagnostics for people: the place, the line of the document, what to write instead.

mod source;

use codespan_reporting::diagnostic as codespan;
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term::termcolor::Ansi;
use codespan_reporting::term::{self, Config, Styles, StylesWriter};
use domus_model::diagnostic::{Diagnostic, Label, Severity, position};
use domus_model::files::Files;
use domus_model::load::Counts;
use source::Source;
use std::fmt::Write;
use std::io::IsTerminal;

/// How wide advice is at most, in characters.
const WIDTH: usize = 80;

/// Whether what is written to `stream` is coloured: to a terminal, unless `NO_COLOR` is set.
pub(crate) fn wants_colour(stream: &impl IsTerminal) -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !no_colour
}

/// Shows these diagnostics on stderr, each with a blank line after it: for commands that refuse
/// to work on a fleet that does not prove.
pub(crate) fn refuse(files: &Files, notes: &[Diagnostic]) {
    eprint!(
        "{}",
        diagnostics(files, notes, wants_colour(&std::io::stderr()))
    );
}

/// These diagnostics as text, each with a blank line after it.
pub(crate) fn diagnostics(files: &Files, notes: &[Diagnostic], colour: bool) -> String {
    let mut text = String::new();
    for notes in notes.chunk_by(|a, b| file(a) == file(b)) {
        let path = notes.first().map_or("", file);
        let source = Source::new(files.content(path));
        for note in notes {
            one(&mut text, files, &source, note, colour);
            text.push('\n');
        }
    }
    text
}

/// How many of what there are, and how many problems: `2 hosts, 5 domUs, 3 images: 1 error`.
pub(crate) fn summary(counts: Counts, notes: &[Diagnostic]) -> String {
    let (errors, warnings) = tally(notes);
    let problems = match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (0, _) => count(warnings, "warning"),
        (_, 0) => count(errors, "error"),
        _ => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    };
    let hosts = count(counts.hosts, "host");
    let domus = count(counts.domus, "domU");
    let images = count(counts.images, "image");
    format!("{hosts}, {domus}, {images}: {problems}")
}

/// How many errors and how many warnings there are.
pub(crate) fn tally(notes: &[Diagnostic]) -> (usize, usize) {
    let is_error = |note: &&Diagnostic| note.severity == Severity::Error;
    let errors = notes.iter().filter(is_error).count();
    (errors, notes.len() - errors)
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn file(note: &Diagnostic) -> &str {
    note.labels.first().map_or("", |label| &label.file)
}

fn one(text: &mut String, files: &Files, source: &Source, note: &Diagnostic, colour: bool) {
    let path = file(note);
    let (here, elsewhere): (Vec<&Label>, Vec<&Label>) =
        note.labels.iter().partition(|label| label.file == path);
    let shown = here.iter().filter_map(|label| {
        let style = match label.primary {
            true => codespan::LabelStyle::Primary,
            false => codespan::LabelStyle::Secondary,
        };
        let label =
            codespan::Label::new(style, (), source.line_part(label)?).with_message(&label.text);
        Some(label)
    });
    let shown: Vec<_> = shown.collect();
    let is_shown = !shown.is_empty();
    let snippet = snippet(path, source, note, shown, colour);
    // As wide as the line numbers of the snippet, so that all places are in one column.
    let margin = match snippet.lines().nth(1) {
        Some(line) => plain(line).chars().take_while(|char| *char == ' ').count(),
        None => 1,
    };
    text.push_str(&snippet);
    let unseen = if is_shown { &[][..] } else { &here[..] };
    for label in unseen.iter().chain(&elsewhere) {
        let corner = paint("┌─", "36", colour);
        let remark = match (is_shown, label.text.as_str()) {
            (false, text) if !text.is_empty() => format!(": {text}"),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "{:margin$}{corner} {}{remark}",
            "",
            place(files, label)
        );
    }
    if let Some(help) = &note.help {
        let _ = writeln!(text, "{}: {}", paint("help", "1;36", colour), wrapped(help));
    }
}

/// The message, and the lines of the document that these labels are on.
fn snippet(
    path: &str,
    source: &Source,
    note: &Diagnostic,
    labels: Vec<codespan::Label<()>>,
    colour: bool,
) -> String {
    let diagnostic = match note.severity {
        Severity::Error => codespan::Diagnostic::error(),
        Severity::Warning => codespan::Diagnostic::warning(),
    };
    let diagnostic = diagnostic.with_message(&note.message).with_labels(labels);
    let file = SimpleFile::new(source::visible(path), source.text());
    let config = Config::default();
    let emitted = if colour {
        let styles = Styles::default();
        let mut buffer = Ansi::new(Vec::new());
        let mut writer = StylesWriter::new(&mut buffer, &styles);
        term::emit_to_write_style(&mut writer, &config, &file, &diagnostic)
            .map(|()| String::from_utf8_lossy(&buffer.into_inner()).into_owned())
    } else {
        term::emit_into_string(&config, &file, &diagnostic)
    };
    match emitted {
        Ok(text) => dense(&text),
        Err(_) => format!("{}\n", note.message),
    }
}

/// `text` without the lines that hold nothing but the border.
fn dense(text: &str) -> String {
    let is_full = |line: &&str| !matches!(plain(line).trim(), "" | "│");
    let lines = text.lines().filter(is_full);
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `line` without the escape sequences for colours.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    match colour {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

fn place(files: &Files, label: &Label) -> String {
    let path = source::visible(&label.file);
    if label.is_whole_file() {
        return path;
    }
    let at = position(files.content(&label.file), label.span.start);
    format!("{path}:{}:{}", at.line, at.column)
}

/// `help` in lines of at most [`WIDTH`] characters, the first of which follows `help: `.
fn wrapped(help: &str) -> String {
    let indent = "      ";
    let mut text = String::new();
    let mut column = indent.len();
    for word in help.split(' ') {
        let length = word.chars().count();
        if column > indent.len() && column + 1 + length > WIDTH {
            text.push('\n');
            text.push_str(indent);
            column = indent.len();
        } else if column > indent.len() {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text
}
