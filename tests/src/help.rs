// SPDX-License-Identifier: GPL-3.0-or-later
//! What `domus` says of itself: commands, and their arguments with what each is for.

use crate::{domus, ran::Ran};
use std::path::Path;
use std::time::Duration;

/// A command and what `-h` says of it.
#[derive(Debug)]
pub struct Help {
    /// Its words, without `domus`.
    pub command: Vec<String>,
    /// The first line: what it does.
    pub about: String,
    /// Options and arguments, as `-C, --dir <DIR>`, with what is said of them.
    pub arguments: Vec<(String, String)>,
    below: Vec<String>,
}

impl Help {
    /// That of every command, `domus` itself first.
    ///
    /// # Panics
    /// A command has no help.
    pub fn all() -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut left = vec![Vec::new()];
        while let Some(command) = left.pop() {
            let help = Self::of(command);
            for word in &help.below {
                let mut command = help.command.clone();
                command.push(word.clone());
                left.push(command);
            }
            found.push(help);
        }
        found
    }

    fn of(command: Vec<String>) -> Self {
        let mut run = domus(Path::new("/"));
        run.args(&command).arg("-h").env("COLUMNS", "100");
        let ran = Ran::of(&mut run, Duration::from_secs(10)).exits(0);
        let mut help = Self {
            command,
            about: String::new(),
            arguments: Vec::new(),
            below: Vec::new(),
        };
        let mut section = "";
        for line in ran.stdout.lines() {
            let indent = line.len() - line.trim_start().len();
            match (indent, line.trim()) {
                (_, "") => {}
                (0, text) if help.about.is_empty() => help.about = text.to_owned(),
                (0, text) => section = text.split(':').next().unwrap_or_default(),
                (2, text) if section == "Commands" => {
                    let word = text.split(' ').next().unwrap_or_default();
                    if word != "help" {
                        help.below.push(word.to_owned());
                    }
                }
                // What is further in goes on from the line before.
                (2 | 6, text) if section == "Arguments" || section == "Options" => {
                    let (spec, said) = text.split_once("  ").unwrap_or((text, ""));
                    help.arguments
                        .push((spec.to_owned(), said.trim().to_owned()));
                }
                (_, text) => {
                    if let Some((_, said)) = help.arguments.last_mut() {
                        *said = format!("{said} {text}").trim().to_owned();
                    }
                }
            }
        }
        help
    }

    /// Whether it takes the option `word`, as `--json`.
    pub fn takes(&self, word: &str) -> bool {
        let mut specs = self.arguments.iter().map(|(spec, _)| spec);
        specs.any(|spec| spec.split([' ', ',']).any(|part| part == word))
    }
}
