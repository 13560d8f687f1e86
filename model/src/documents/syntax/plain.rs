// SPDX-License-Identifier: GPL-3.0-or-later
//! Plain documents: tables on lines of their own, bare keys, strings without escapes, decimal
//! numbers, flags, and arrays of these. Whatever else there is, or might be wrong, is not judged
//! here: then the whole document is read by the `toml` crate. A property test compares the two.

use super::{Body, Children, Node, Span, Toml};
use std::borrow::Cow;
use std::cmp::Ordering;

/// How many entries a plain table has at most, as each is looked for one after another.
const MOST_ENTRIES: u32 = 64;

/// About how many bytes a document has for each value.
const BYTES_PER_VALUE: usize = 12;

/// The TOML of a plain document.
pub(super) fn read(text: &str) -> Option<Toml<'_>> {
    let mut reader = Reader {
        text,
        at: 0,
        toml: Toml::with_room(2 + text.len() / BYTES_PER_VALUE),
    };
    // The table that keys belong to.
    let mut table = 0;
    loop {
        reader.skip_blanks();
        match reader.peek() {
            None => return Some(reader.toml),
            Some(b'\n' | b'\r' | b'#') => {}
            Some(b'[') => table = reader.header()?,
            Some(_) => {
                let (key, key_span) = reader.key()?;
                reader.skip_blanks();
                reader.expect(b'=')?;
                reader.skip_blanks();
                let value = reader.value(key, key_span)?;
                reader.insert(table, value)?;
            }
        }
        reader.end_of_line()?;
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    toml: Toml<'t>,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes on while bytes are `wanted`: the bytes passed.
    fn pass(&mut self, wanted: impl Fn(u8) -> bool) -> &'t str {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| !wanted(*byte));
        let start = self.at;
        self.at += length.unwrap_or(rest.len());
        // Everything that is passed is ASCII, or ends before what is.
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.pass(is_blank);
    }

    /// Blanks, a comment, and the end of a line or of the document.
    fn end_of_line(&mut self) -> Option<()> {
        self.skip_blanks();
        if self.peek() == Some(b'#') {
            self.pass(is_text);
        }
        match self.peek() {
            None => Some(()),
            Some(b'\r') => {
                self.at += 1;
                self.expect(b'\n')
            }
            Some(_) => self.expect(b'\n'),
        }
    }

    fn key(&mut self) -> Option<(&'t str, Span)> {
        let start = self.at;
        let key = self.pass(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (!key.is_empty()).then(|| (key, Span::new(start..self.at)))
    }

    fn value(&mut self, key: &'t str, key_span: Span) -> Option<u32> {
        let start = self.at;
        let body = match self.peek()? {
            b'"' => Body::Text(Cow::Borrowed(self.string()?)),
            b'0'..=b'9' => Body::Integer(Cow::Borrowed(self.digits()?), 10),
            b't' => self.word("true", true)?,
            b'f' => self.word("false", false)?,
            b'[' => return self.array(key, key_span),
            _ => return None,
        };
        let span = Span::new(start..self.at);
        Some(self.push(key, key_span, span, body))
    }

    fn push(&mut self, key: &'t str, key_span: Span, span: Span, body: Body<'t>) -> u32 {
        let key = Cow::Borrowed(key);
        let next = None;
        self.toml.push(Node {
            key,
            key_span,
            span,
            body,
            next,
        })
    }

    fn string(&mut self) -> Option<&'t str> {
        self.expect(b'"')?;
        let text = self.pass(|byte| is_text(byte) && byte != b'"' && byte != b'\\');
        self.expect(b'"')?;
        // Three quotes begin a string of several lines.
        (!text.is_empty() || self.peek() != Some(b'"')).then_some(text)
    }

    /// A decimal number; a zero before others, and what dates, fractions and other bases have, are
    /// not plain.
    fn digits(&mut self) -> Option<&'t str> {
        let digits = self.pass(|byte| byte.is_ascii_digit());
        let is_plain = digits == "0" || !digits.starts_with('0');
        (is_plain && self.ends_value()).then_some(digits)
    }

    fn word(&mut self, word: &str, flag: bool) -> Option<Body<'t>> {
        self.text[self.at..].starts_with(word).then_some(())?;
        self.at += word.len();
        self.ends_value().then_some(Body::Boolean(flag))
    }

    /// Whether a value that has no end of its own ends here.
    fn ends_value(&self) -> bool {
        let ends = |byte: u8| is_blank(byte) || b"\r\n,]#".contains(&byte);
        self.peek().is_none_or(ends)
    }

    /// An array of values that are no arrays; in several lines, if these have no comments.
    fn array(&mut self, key: &'t str, key_span: Span) -> Option<u32> {
        let start = self.at;
        self.expect(b'[')?;
        let nowhere = Span { start: 0, end: 0 };
        let array = self.push(key, key_span, nowhere, Body::Array(Children::default()));
        loop {
            self.skip_lines();
            if self.peek()? == b']' {
                break;
            }
            if self.peek()? == b'[' {
                return None;
            }
            let item = self.value("", nowhere)?;
            self.toml.append(array, item);
            self.skip_lines();
            if self.peek()? != b',' {
                break;
            }
            self.at += 1;
        }
        self.expect(b']')?;
        self.toml.nodes[array as usize].span = Span::new(start..self.at);
        Some(array)
    }

    fn skip_lines(&mut self) {
        self.pass(|byte| is_blank(byte) || byte == b'\n');
    }

    /// The header of a table: the table.
    fn header(&mut self) -> Option<u32> {
        let start = self.at;
        self.expect(b'[')?;
        let is_array = self.expect(b'[').is_some();
        let mut parent = 0;
        let (mut key, mut key_span) = self.key()?;
        while self.expect(b'.').is_some() {
            parent = self.below(parent, key, key_span)?;
            (key, key_span) = self.key()?;
        }
        self.expect(b']')?;
        if is_array {
            self.expect(b']')?;
        }
        let span = Span::new(start..self.at);
        let table = || Body::Table(Children::default());
        if !is_array {
            let table = self.push(key, key_span, span, table());
            return self.insert(parent, table).map(|()| table);
        }
        let array = match self.find(parent, key) {
            // Only headers make arrays of tables.
            Some(known) => self.is_tables(known).then_some(known)?,
            None => {
                let array = self.push(key, key_span, span, Body::Array(Children::default()));
                self.insert(parent, array)?;
                array
            }
        };
        let nowhere = Span { start: 0, end: 0 };
        let table = self.push("", nowhere, span, table());
        self.toml.append(array, table);
        Some(table)
    }

    /// The table below `key`, of which others are to be below.
    fn below(&mut self, parent: u32, key: &'t str, key_span: Span) -> Option<u32> {
        if let Some(known) = self.find(parent, key) {
            let is_table = matches!(self.toml.node(known).body, Body::Table(_));
            return is_table.then_some(known);
        }
        let table = Body::Table(Children::default());
        let table = self.push(key, key_span, key_span, table);
        self.insert(parent, table).map(|()| table)
    }

    /// Whether it is an array of tables; arrays that are values hold none.
    fn is_tables(&self, array: u32) -> bool {
        let Body::Array(children) = self.toml.node(array).body else {
            return false;
        };
        let first = children.first.map(|first| &self.toml.node(first).body);
        matches!(first, Some(Body::Table(_)))
    }

    fn find(&self, table: u32, key: &str) -> Option<u32> {
        let Body::Table(children) = self.toml.node(table).body else {
            return None;
        };
        let mut all = std::iter::successors(children.first, |at| self.toml.node(*at).next);
        all.find(|at| self.toml.node(*at).key == key)
    }

    /// Puts a value where its key belongs in a table, unless that has the key, or too many.
    fn insert(&mut self, table: u32, value: u32) -> Option<()> {
        let Body::Table(children) = self.toml.node(table).body else {
            return None;
        };
        if children.count == MOST_ENTRIES {
            return None;
        }
        let key = &self.toml.node(value).key;
        let (mut before, mut after) = (None, children.first);
        loop {
            let order = after.map_or(Ordering::Less, |at| key.cmp(&self.toml.node(at).key));
            match order {
                Ordering::Equal => return None,
                Ordering::Greater => {
                    before = after;
                    after = after.and_then(|at| self.toml.node(at).next);
                }
                Ordering::Less => {
                    self.link(table, before, value, after);
                    return Some(());
                }
            }
        }
    }

    fn link(&mut self, table: u32, before: Option<u32>, value: u32, after: Option<u32>) {
        self.toml.nodes[value as usize].next = after;
        if let Some(before) = before {
            self.toml.nodes[before as usize].next = Some(value);
        }
        if let Some(children) = self.toml.nodes[table as usize].body.children_mut() {
            children.count += 1;
            children.first = before.map_or(Some(value), |_| children.first);
            children.last = after.map_or(Some(value), |_| children.last);
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether a byte may stand in a string or comment: no control character, but tabs.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
