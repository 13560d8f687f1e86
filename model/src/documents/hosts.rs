// SPDX-License-Identifier: GPL-3.0-or-later
//! `global/hosts`: `/etc/hosts` of every host and domU. Format: hosts(5).

use super::place::At;
use crate::bad_value::quoted;
use crate::diagnostic::{Diagnostic, Place};
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

/// The file as written.
#[derive(Debug, Default)]
pub(crate) struct HostsDoc {
    pub(crate) lines: Vec<Line>,
    /// The lines of each name: every host of a fleet looks for its own.
    by_name: HashMap<String, Vec<usize>>,
    /// All addresses of IPv4 in order, once somebody asks for those of a subnet.
    in_order: OnceLock<Vec<Ipv4Addr>>,
}

/// An address and its names, the canonical one first.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) address: At<IpAddr>,
    pub(crate) names: Vec<At<String>>,
}

impl HostsDoc {
    /// Reads the file; what cannot be read is noted and left out.
    pub(super) fn read(file: &Arc<str>, text: &str, notes: &mut Vec<Diagnostic>) -> Self {
        let mut doc = Self::default();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let content = line.split('#').next().unwrap_or_default();
            if let Some(line) = read_line(file, content, start, notes) {
                for name in &line.names {
                    let lines = doc.by_name.entry(name.value.clone()).or_default();
                    lines.push(doc.lines.len());
                }
                doc.lines.push(line);
            }
            start += line.len();
        }
        doc
    }

    /// The addresses that a name has.
    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = &At<IpAddr>> {
        let lines = self.by_name.get(name).into_iter().flatten();
        lines.map(|line| &self.lines[*line].address)
    }

    /// The addresses in a subnet, in order.
    pub(crate) fn within(&self, subnet: Ipv4Net) -> &[Ipv4Addr] {
        let all = self.in_order.get_or_init(|| {
            let addresses = self.lines.iter().map(|line| line.address.value);
            let mut all: Vec<Ipv4Addr> = addresses
                .filter_map(|address| match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                })
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        });
        let begin = all.partition_point(|address| *address < subnet.network());
        let end = all.partition_point(|address| *address <= subnet.broadcast());
        &all[begin..end]
    }
}

/// Reads a line that begins at byte `start`; `None` if it is empty or has no address.
fn read_line(
    file: &Arc<str>,
    content: &str,
    start: usize,
    notes: &mut Vec<Diagnostic>,
) -> Option<Line> {
    let mut words = words(content).map(|(at, word)| {
        let place = Place::new(file, start + at..start + at + word.len());
        (word, place)
    });
    let (word, place) = words.next()?;
    let mut names = Vec::new();
    for (name, place) in words {
        if is_name(name) {
            let value = name.to_owned();
            names.push(At { value, place });
        } else {
            let message = format!("{} is no host name", quoted(name));
            let help = "use letters, digits, - and . between them";
            notes.push(place.error(message).help(help));
        }
    }
    let Ok(value) = word.parse::<IpAddr>() else {
        let message = format!("{} is no IP address", quoted(word));
        let help = "a line is an address and its names, as \"192.0.2.10 alpha\"";
        notes.push(place.error(message).help(help));
        return None;
    };
    if names.is_empty() {
        let message = format!("{value} has no name");
        notes.push(place.error(message).help("write its names after it"));
    }
    let address = At { value, place };
    Some(Line { address, names })
}

/// The words of a line, each with the byte that it begins at.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let base = line.as_ptr() as usize;
    line.split_ascii_whitespace()
        .map(move |word| (word.as_ptr() as usize - base, word))
}

/// RFC 1123, 2.1; an underscore is what some have.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let fits = (1..=63).contains(&label.len());
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        fits && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(allowed)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}
