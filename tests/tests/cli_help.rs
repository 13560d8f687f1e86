// SPDX-License-Identifier: GPL-3.0-or-later
//! What the program says of itself, and what documents say of the program.

use domus_tests::help::Help;
use domus_tests::ran::Ran;
use domus_tests::workspace;
use std::fs;

#[test]
fn everything_is_documented() {
    let all = Help::all();
    let commands: Vec<String> = all.iter().map(|help| help.command.join(" ")).collect();
    for expected in ["", "init", "image build", "iso verify", "rehearse"] {
        assert!(commands.iter().any(|c| c == expected), "no {expected:?}");
    }
    for help in &all {
        let command = help.command.join(" ");
        assert!(help.about.len() > 10, "domus {command}: {:?}", help.about);
        assert!(help.takes("--help"), "domus {command}: {help:?}");
        for (spec, said) in &help.arguments {
            assert!(said.len() > 5, "domus {command}: {spec} says {said:?}");
        }
    }
}

/// A command line of `domus` in a text: in `code`, or a line of a code block.
fn command_lines(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            found.push(line.trim_start_matches(['$', '#', ' ']));
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found.retain(|line| line.starts_with("domus "));
    found
}

/// What is wrong with a command line that a document shows.
fn wrong(line: &str, all: &[Help]) -> Option<String> {
    let line = line.split(['#', '|', ';', '&', '>']).next().unwrap_or(line);
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let is_begin = |help: &&Help| {
        let begin = words.iter().take(help.command.len());
        help.command.iter().eq(begin)
    };
    let help = all
        .iter()
        .filter(is_begin)
        .max_by_key(|help| help.command.len())?;
    let is_group = all.iter().any(|other| {
        other.command.len() > help.command.len() && other.command.starts_with(&help.command)
    });
    let next = words.get(help.command.len()).copied().unwrap_or("-");
    if is_group && next.chars().all(|c| c.is_ascii_lowercase()) {
        return Some(format!("there is no command {next}"));
    }
    let options = words.iter().filter(|word| word.starts_with("--"));
    let mut unknown = options
        .map(|word| word.split('=').next().unwrap_or(word))
        .filter(|word| !help.takes(word));
    unknown.next().map(|word| format!("there is no {word}"))
}

#[test]
fn documents_show_commands_that_exist() {
    let all = Help::all();
    let listed = Ran::program_in(workspace(), "git", &["ls-files", "*.md"]);
    let mut seen = 0;
    let mut problems = Vec::new();
    for path in listed.lines() {
        let Ok(text) = fs::read_to_string(workspace().join(path)) else {
            continue;
        };
        for line in command_lines(&text) {
            seen += 1;
            problems.extend(wrong(line, &all).map(|what| format!("{path}: `{line}`: {what}")));
        }
    }
    assert!(seen > 5, "only {seen} command lines in: {listed}");
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn a_wrong_command_line_in_a_document_is_found() {
    let all = Help::all();
    for (line, is_wrong) in [
        ("domus check", false),
        ("domus check --json --warnings-as-errors", false),
        ("domus check --jsn", true),
        ("domus iso build --unsigned   # then", false),
        ("domus iso burn", true),
        ("domus init DIR --name x", false),
        ("domus frobnicate", true),
    ] {
        assert_eq!(wrong(line, &all).is_some(), is_wrong, "{line}");
    }
}
