// SPDX-License-Identifier: GPL-3.0-or-later
//! The syntax of xl configurations: `key = value` and `key += value`, comments after `#`.

use super::value::{Config, Kind, Setting, Value, number};
use super::{LONGEST, Refused};
use crate::bad_value::{BadValue, quoted};
use crate::diagnostic::position;
use std::collections::HashMap;

/// How deep lists may be in lists.
const DEEPEST: usize = 8;

/// Reads an xl configuration.
///
/// # Errors
/// The first place at which it is none, or that it is longer than [`LONGEST`].
pub fn parse(text: &str) -> Result<Config, Refused> {
    let mut parser = Parser {
        text,
        at: 0,
        line: 1,
        line_start: 0,
        counted: (0, 1),
        last: HashMap::new(),
        config: Config::default(),
    };
    if text.len() > LONGEST {
        let problem = format!("it has more than {} MiB", LONGEST >> 20);
        return Err(parser.refuse(0, problem, "name the configuration of a domain"));
    }
    while parser.statement()? {}
    Ok(parser.config)
}

struct Parser<'t> {
    text: &'t str,
    /// The next byte.
    at: usize,
    /// Its line, from 1, and where that begins.
    line: usize,
    line_start: usize,
    /// A byte of which the column is known, so that none is counted twice.
    counted: (usize, usize),
    /// The last setting of each key.
    last: HashMap<&'t str, usize>,
    config: Config,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        if found && wanted == '\n' {
            self.line += 1;
            self.line_start = self.at;
        }
        found
    }

    fn take_while(&mut self, fits: fn(char) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// The column of the next byte in characters, from 1.
    fn column(&mut self) -> usize {
        let (from, column) = match self.counted {
            (from, _) if from < self.line_start => (self.line_start, 1),
            counted => counted,
        };
        let column = column + self.text[from..self.at].chars().count();
        self.counted = (self.at, column);
        column
    }

    fn refuse(&self, at: usize, problem: String, advice: impl Into<String>) -> Refused {
        let place = position(self.text.as_bytes(), at);
        Refused {
            line: place.line,
            column: place.column,
            bad: BadValue::new(problem, advice),
        }
    }

    /// The word or character at `at`, for people.
    fn word(&self, at: usize) -> String {
        let rest = &self.text[at..];
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        match rest.chars().next() {
            None => "the end".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some(first) => quoted(&rest[..end.max(first.len_utf8())]),
        }
    }

    fn blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\x0c'));
        if self.peek() == Some('#') {
            self.take_while(|c| c != '\n');
        }
    }

    fn blank_lines(&mut self) {
        self.blanks();
        while self.take('\n') {
            self.blanks();
        }
    }

    /// Reads a statement; false at the end.
    fn statement(&mut self) -> Result<bool, Refused> {
        self.blank_lines();
        if self.take(';') {
            return Ok(true);
        }
        if self.at == self.text.len() {
            return Ok(false);
        }
        let (start, line) = (self.at, self.line);
        let key = match self.peek() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.take_while(is_word),
            _ => {
                let problem = format!("{} is no setting", self.word(start));
                return Err(self.refuse(start, problem, "write key = value"));
            }
        };
        self.blanks();
        let adds = self.take('+');
        if !self.take('=') {
            let problem = format!("{} is no setting", quoted(key));
            let advice = "write key = value; xl runs no Python, so write out what it comes to";
            return Err(self.refuse(start, problem, advice));
        }
        self.blanks();
        let value = self.value(0)?;
        self.blanks();
        if !matches!(self.peek(), None | Some('\n' | ';')) {
            let problem = format!("{} stands after the value of {key}", self.word(self.at));
            let advice = "end a setting with a new line or ;";
            return Err(self.refuse(self.at, problem, advice));
        }
        self.set(key, line, value, adds)?;
        Ok(true)
    }

    fn set(&mut self, key: &'t str, line: usize, value: Value, adds: bool) -> Result<(), Refused> {
        let settings = &mut self.config.settings;
        let before = self
            .last
            .get(key)
            .and_then(|index| settings.get_mut(*index));
        if let (true, Some(before)) = (adds, before) {
            match (&mut before.value.kind, value.kind) {
                (Kind::List(all), Kind::List(more)) => all.extend(more),
                (Kind::Text(all), Kind::Text(more)) => all.push_str(&more),
                _ => {
                    let problem = format!("what is added to {key} is of another kind");
                    let (line, column) = (value.line, value.column);
                    let bad = BadValue::new(problem, "add a list to a list, a string to a string");
                    return Err(Refused { line, column, bad });
                }
            }
            return Ok(());
        }
        self.last.insert(key, settings.len());
        let key = key.to_owned();
        settings.push(Setting { key, line, value });
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, Refused> {
        let start = self.at;
        let line = self.line;
        let column = self.column();
        let kind = match self.peek() {
            Some(quote @ ('"' | '\'')) => Kind::Text(self.string(quote)?),
            Some('[') => Kind::List(self.list(depth)?),
            Some('0'..='9') => {
                let word = self.take_while(is_word);
                let value = number(word).ok_or_else(|| {
                    let problem = format!("{} is no number", quoted(word));
                    self.refuse(start, problem, "write a whole number, or quotes around it")
                })?;
                Kind::Number(value)
            }
            _ => {
                let problem = format!("{} is no value", self.word(start));
                let advice = "write a number, a string in quotes or a list in [ ]";
                return Err(self.refuse(start, problem, advice));
            }
        };
        Ok(Value { line, column, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, Refused> {
        let start = self.at;
        if depth == DEEPEST {
            let problem = format!("lists are more than {DEEPEST} deep");
            return Err(self.refuse(start, problem, "no setting of xl needs that"));
        }
        self.take('[');
        let mut values = Vec::new();
        loop {
            self.blank_lines();
            if self.take(']') {
                return Ok(values);
            }
            if self.at == self.text.len() {
                let problem = "the list has no end".to_owned();
                return Err(self.refuse(start, problem, "close it with ]"));
            }
            values.push(self.value(depth + 1)?);
            self.blank_lines();
            if !self.take(',') && !matches!(self.peek(), None | Some(']')) {
                let problem = format!("{} stands after a value of the list", self.word(self.at));
                return Err(self.refuse(self.at, problem, "put a , between values"));
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<String, Refused> {
        let start = self.at;
        self.take(quote);
        let mut text = String::new();
        while let Some(char) = self.peek().filter(|char| *char != '\n') {
            self.at += char.len_utf8();
            match (char, self.peek()) {
                (char, _) if char == quote => return Ok(text),
                ('\\', Some(next @ ('\\' | '\'' | '"'))) => {
                    self.take(next);
                    text.push(next);
                }
                (char, _) => text.push(char),
            }
        }
        let problem = "the string has no end on its line".to_owned();
        Err(self.refuse(start, problem, format!("close it with {quote}")))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Kind {
        let config = parse(text).expect(text);
        config.settings.last().expect(text).value.kind.clone()
    }

    #[test]
    fn values_are_read() {
        for (text, number) in [("a=0x10", 16), ("a = 010 # octal", 8), ("a=\t7 ; b = 0", 0)] {
            assert_eq!(only(text), Kind::Number(number), "{text}");
        }
        for (text, string) in [
            ("a = 'x\"#;'", "x\"#;"),
            (r#"a = "x\"\\y\d""#, r#"x"\y\d"#),
            ("a = 'x'\na += \"y\"", "xy"),
        ] {
            assert_eq!(only(text), Kind::Text(string.into()), "{text}");
        }
        let Kind::List(list) = only("\n a = [ 1, # one\n 'b',\n\n [ ], ]\na += ['c']") else {
            panic!("no list");
        };
        let places = list.iter().map(|value| (value.line, value.column));
        assert_eq!(places.collect::<Vec<_>>(), [(2, 8), (3, 2), (5, 2), (6, 7)]);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, expected) in [
            ("a = 1\nü = 2", "2:1: \"ü\" is no setting"),
            ("import os", "1:1: \"import\" is no setting"),
            ("a = hvm", "1:5: \"hvm\" is no value"),
            ("a = True", "1:5: \"True\" is no value"),
            ("a =\n1", "1:4: the end of the line is no value"),
            ("a = 'x\n'", "1:5: the string has no end"),
            ("a = '''x'''", "1:7: \"\\'\" stands after"),
            ("a = 1 b = 2", "1:7: \"b\" stands after"),
            ("a = 'x' % 1", "1:9: \"%\" stands after"),
            ("a = 089", "1:5: \"089\" is no number"),
            ("a = 99999999999999999999", "1:5: "),
            ("a = [1 2]", "1:8: \"2\" stands after"),
            ("a = [1,,2]", "1:8: \",\" is no value"),
            ("a = [\n1,", "1:5: the list has no end"),
            ("a = 1\na += 'x'", "2:6: what is added to a"),
            ("a = [[[[[[[[[[", "1:13: lists are more than 8 deep"),
        ] {
            let refused = parse(text).expect_err(text).to_string();
            assert!(refused.starts_with(expected), "{text}: {refused}");
        }
        let long = " ".repeat(LONGEST + 1);
        assert!(parse(&long).is_err() && parse(&long[1..]).is_ok());
    }
}
