// SPDX-License-Identifier: GPL-3.0-or-later
//! `locked/NAME.etc`: what a locked image or release has in `/etc`, so that removals can be proved
//! without it.

use std::collections::BTreeMap;
use std::fmt::Display;

/// The directory in the repository of what builds say of images and releases.
pub const LISTS: &str = "locked";

/// The ending of a list.
const ENDING: &str = ".etc";

/// The name of the image or release of which `path` says something, in a file with that ending.
pub(crate) fn locked<'p>(path: &'p str, ending: &str) -> Option<&'p str> {
    let file = path.strip_prefix(LISTS)?.strip_prefix('/')?;
    let name = file.strip_suffix(ending)?;
    (!name.is_empty() && !name.contains('/') && !name.starts_with('.')).then_some(name)
}

/// What there is in `/etc`, by the path below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcList(BTreeMap<String, Entry>);

/// Something in `/etc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A file, or a link to one.
    File,
    /// A directory, which may be empty.
    Directory,
}

impl EtcList {
    /// Where the list of the image or release of that name is in the repository.
    pub fn path(name: impl Display) -> String {
        format!("{LISTS}/{name}{ENDING}")
    }

    /// The name of the image or release whose list is at `path`.
    pub(crate) fn name_of(path: &str) -> Option<&str> {
        locked(path, ENDING)
    }

    /// A list of these. A name with a control character in it, which no document can name either,
    /// is left out.
    pub fn new(entries: impl IntoIterator<Item = (String, Entry)>) -> Self {
        let entries = entries.into_iter();
        Self(entries.filter(|(path, _)| is_path(path)).collect())
    }

    /// The document: a path a line, directories with a slash at the end, in order.
    pub fn render(&self) -> String {
        let line = |(path, entry): (&String, &Entry)| match entry {
            Entry::File => format!("{path}\n"),
            Entry::Directory => format!("{path}/\n"),
        };
        self.0.iter().map(line).collect()
    }

    /// Reads the document.
    ///
    /// # Errors
    /// The number of the first line, from 0, that is no path or not in order.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let (path, entry) = match line.strip_suffix('/') {
                Some(path) => (path, Entry::Directory),
                None => (line, Entry::File),
            };
            let last = entries.last_key_value();
            let follows = last.is_none_or(|(last, _)| last.as_str() < path);
            if !is_path(path) || !follows {
                return Err(number);
            }
            entries.insert(path.to_owned(), entry);
        }
        Ok(Self(entries))
    }

    /// What is at `path`, if something is.
    pub fn get(&self, path: &str) -> Option<Entry> {
        self.0.get(path).copied()
    }

    /// The files in the directory `path` and below.
    pub fn files_below(&self, path: &str) -> impl Iterator<Item = &str> {
        let below = format!("{path}/");
        let all = self.0.range(below.clone()..);
        let all = all.take_while(move |(path, _)| path.starts_with(&below));
        all.filter(|(_, entry)| **entry == Entry::File)
            .map(|(path, _)| path.as_str())
    }

    /// All paths, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn is_path(text: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    !text.contains(char::is_control) && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_a_path_a_line() {
        let list = EtcList::new([
            ("ssh/moduli".to_owned(), Entry::File),
            ("ssh".to_owned(), Entry::Directory),
            ("ssh-keys".to_owned(), Entry::Directory),
            ("odd\nname".to_owned(), Entry::File),
        ]);
        assert_eq!(list.render(), "ssh/\nssh-keys/\nssh/moduli\n");
        assert_eq!(EtcList::parse(&list.render()), Ok(list.clone()));
        assert_eq!(list.get("ssh"), Some(Entry::Directory));
        assert_eq!(list.get("ssh/other"), None);
        assert!(list.files_below("ssh").eq(["ssh/moduli"]));
        for (text, line) in [
            ("b\na\n", 1),
            ("a\na\n", 1),
            ("a\na/\n", 1),
            ("/etc/motd\n", 0),
            ("a\n\nb\n", 1),
            ("a\n<<<<<<< HEAD\nb\n", 1),
            ("../x", 0),
        ] {
            assert_eq!(EtcList::parse(text), Err(line), "{text:?}");
        }
    }

    #[test]
    fn lists_are_known_by_their_paths() {
        for name in ["web@7", "2026.11"] {
            assert_eq!(EtcList::name_of(&EtcList::path(name)), Some(name));
        }
        for path in ["locked/.etc", "locked/x/y.etc", "locked/web@7", "x/a.etc"] {
            assert_eq!(EtcList::name_of(path), None);
        }
    }

    proptest! {
        #[test]
        fn a_list_survives_writing(paths: Vec<(String, bool)>, text: String) {
            let entry = |(path, is_file)| match is_file {
                true => (path, Entry::File),
                false => (path, Entry::Directory),
            };
            let list = EtcList::new(paths.into_iter().map(entry));
            prop_assert_eq!(EtcList::parse(&list.render()), Ok(list));
            if let Ok(list) = EtcList::parse(&text) {
                prop_assert_eq!(EtcList::parse(&list.render()), Ok(list));
            }
        }
    }
}
