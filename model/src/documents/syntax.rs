// SPDX-License-Identifier: GPL-3.0-or-later
//! The syntax of a document: its TOML with the place of everything, all in one piece of memory, as
//! a large fleet has a million of them.
//!
//! The `toml` crate says what TOML is. What nearly all documents consist of is read by `plain`,
//! several times as fast; as soon as it meets anything else the crate reads the document.

mod plain;
mod whole;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A document that is TOML.
#[derive(Debug, PartialEq)]
pub(crate) struct Toml<'t> {
    /// The root table is the first.
    nodes: Vec<Node<'t>>,
}

/// Bytes of a document, which has 1 MiB at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// A value, with what it has for a key in its table.
#[derive(Debug, PartialEq)]
struct Node<'t> {
    key: Cow<'t, str>,
    key_span: Span,
    span: Span,
    body: Body<'t>,
    /// The next in the same table or array.
    next: Option<u32>,
}

#[derive(Debug, PartialEq)]
enum Body<'t> {
    Text(Cow<'t, str>),
    /// Its digits and their base.
    Integer(Cow<'t, str>, u32),
    Boolean(bool),
    /// What no document has, by its name.
    Other(&'static str),
    Array(Children),
    /// In the order of their keys, each there once.
    Table(Children),
}

/// The values in a table or array.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Children {
    first: Option<u32>,
    last: Option<u32>,
    count: u32,
}

impl<'t> Toml<'t> {
    /// The TOML of a document.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn parse(text: &'t str) -> Result<Self, toml::de::Error> {
        match plain::read(text) {
            Some(toml) => Ok(toml),
            None => whole::read(text),
        }
    }

    /// Its table of all.
    pub(crate) fn root(&self) -> Entries<'_> {
        let nodes = &self.nodes;
        let first = match nodes[0].body {
            Body::Table(children) => children.first,
            _ => None,
        };
        Entries { nodes, first }
    }

    /// A document with a table that is empty; `room` for so many values.
    fn with_room(room: usize) -> Self {
        let mut nodes = Vec::with_capacity(room);
        let nowhere = Span { start: 0, end: 0 };
        nodes.push(Node {
            key: Cow::Borrowed(""),
            key_span: nowhere,
            span: nowhere,
            body: Body::Table(Children::default()),
            next: None,
        });
        Self { nodes }
    }

    /// Adds a value that nothing leads to yet.
    fn push(&mut self, node: Node<'t>) -> u32 {
        self.nodes.push(node);
        index(self.nodes.len() - 1)
    }

    fn node(&self, at: u32) -> &Node<'t> {
        &self.nodes[at as usize]
    }

    /// Puts a value behind all others of a table or array.
    fn append(&mut self, parent: u32, child: u32) {
        let Some(children) = self.nodes[parent as usize].body.children_mut() else {
            return;
        };
        children.count += 1;
        let last = children.last.replace(child);
        match last {
            Some(last) => self.nodes[last as usize].next = Some(child),
            None => children.first = Some(child),
        }
    }
}

impl Body<'_> {
    fn children_mut(&mut self) -> Option<&mut Children> {
        match self {
            Self::Array(children) | Self::Table(children) => Some(children),
            _ => None,
        }
    }
}

/// A number that counts bytes or values of a document; there are fewer than 2^32.
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Span {
    fn new(span: Range<usize>) -> Self {
        Self {
            start: index(span.start),
            end: index(span.end),
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Whether two keys are the same. Most differ in their first byte, which is cheaper to see here than
/// by a call.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.as_bytes().first() == other.as_bytes().first() && one == other
}

/// A table of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entries<'d> {
    nodes: &'d [Node<'d>],
    first: Option<u32>,
}

/// A value in a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'d> {
    nodes: &'d [Node<'d>],
    node: &'d Node<'d>,
}

impl<'d> Entries<'d> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<Value<'d>> {
        self.values().find(|value| is_same(&value.node.key, key))
    }

    /// Keys, where they are written, and values, in the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'d str, Range<usize>, Value<'d>)> {
        self.values().map(|value| {
            let node = value.node;
            (&*node.key, node.key_span.range(), value)
        })
    }

    fn values(&self) -> impl Iterator<Item = Value<'d>> + use<'d> {
        values(self.nodes, self.first)
    }
}

fn values<'d>(nodes: &'d [Node<'d>], first: Option<u32>) -> impl Iterator<Item = Value<'d>> {
    let node = move |at: u32| &nodes[at as usize];
    let all = std::iter::successors(first.map(node), move |it| it.next.map(node));
    all.map(move |node| Value { nodes, node })
}

impl<'d> Value<'d> {
    /// Where it is written.
    pub(crate) fn span(&self) -> Range<usize> {
        self.node.span.range()
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&'d str> {
        match &self.node.body {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An integer.
    pub(crate) fn as_integer(&self) -> Option<Integer<'d>> {
        match &self.node.body {
            Body::Integer(digits, radix) => {
                let radix = *radix;
                Some(Integer { digits, radix })
            }
            _ => None,
        }
    }

    /// Whether it is true.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.node.body {
            Body::Boolean(flag) => Some(flag),
            _ => None,
        }
    }

    /// The items of an array.
    pub(crate) fn as_array(&self) -> Option<impl Iterator<Item = Value<'d>> + use<'d>> {
        match self.node.body {
            Body::Array(children) => Some(values(self.nodes, children.first)),
            _ => None,
        }
    }

    /// A table.
    pub(crate) fn as_table(&self) -> Option<Entries<'d>> {
        match self.node.body {
            Body::Table(children) => Some(Entries {
                nodes: self.nodes,
                first: children.first,
            }),
            _ => None,
        }
    }

    /// What TOML calls such values.
    pub(crate) fn type_str(&self) -> &'static str {
        match self.node.body {
            Body::Text(_) => "string",
            Body::Integer(..) => "integer",
            Body::Boolean(_) => "boolean",
            Body::Other(name) => name,
            Body::Array(_) => "array",
            Body::Table(_) => "table",
        }
    }
}

/// An integer of any size, shown as it would be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integer<'d> {
    digits: &'d str,
    radix: u32,
}

impl Integer<'_> {
    /// As a number, if it fits.
    pub(crate) fn small(&self) -> Option<u32> {
        u32::from_str_radix(self.digits, self.radix).ok()
    }

    /// As a number, if it fits.
    pub(crate) fn large(&self) -> Option<i64> {
        i64::from_str_radix(self.digits, self.radix).ok()
    }
}

impl fmt::Display for Integer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.radix {
            2 => "0b",
            8 => "0o",
            16 => "0x",
            _ => "",
        };
        write!(f, "{prefix}{}", self.digits)
    }
}

#[cfg(test)]
mod tests;
