// SPDX-License-Identifier: GPL-3.0-or-later
//! A Debian tree in a tar archive: reading single files from it, and writing it again without
//! what is left out and with what is added. Entries that stay are copied byte for byte, extended
//! attributes and owners included.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tar::{Archive, Builder, EntryType, Header};

use crate::EPOCH;
use crate::files::{Added, What};
use crate::selection::Chosen;

/// An indexed archive.
#[derive(Debug)]
pub struct RootTar {
    path: PathBuf,
    entries: Vec<Entry>,
    names: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    link: Option<String>,
    directory: bool,
    /// Where its headers begin.
    start: u64,
    /// Where its content begins.
    data: u64,
    size: u64,
    /// Where the next entry's headers begin.
    end: u64,
}

impl RootTar {
    /// Indexes the archive at `path`.
    ///
    /// # Errors
    /// It cannot be read or is no tar archive.
    pub fn open(path: &Path) -> Result<Self> {
        let doing = || format!("reading {}", path.display());
        let mut archive = Archive::new(File::open(path).with_context(doing)?);
        let mut entries = Vec::new();
        let mut start = 0;
        for entry in archive.entries_with_seek().with_context(doing)? {
            let entry = entry.with_context(doing)?;
            let name = entry
                .path()
                .with_context(doing)?
                .to_string_lossy()
                .into_owned();
            let link = entry.link_name().with_context(doing)?;
            let size = if entry.header().entry_type().is_file() {
                entry.size()
            } else {
                0
            };
            let end = entry.raw_file_position() + size.next_multiple_of(512);
            entries.push(Entry {
                name: tidy(&name),
                directory: entry.header().entry_type().is_dir(),
                link: link.map(|link| link.to_string_lossy().into_owned()),
                start,
                data: entry.raw_file_position(),
                size,
                end,
            });
            start = end;
        }
        let names = entries
            .iter()
            .enumerate()
            .map(|(i, e)| (e.name.clone(), i))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            entries,
            names,
        })
    }

    /// Paths in the tree (relative to `/`, no trailing slash) that start with `prefix`.
    pub fn below<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a str> {
        let prefix = prefix.to_owned();
        let names = self.names.range(prefix.clone()..);
        names
            .map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(&prefix))
    }

    /// As [`RootTar::below`], without directories.
    pub fn files_below<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a str> {
        let is_file = |name: &&str| !self.entries[self.names[*name]].directory;
        self.below(prefix).filter(is_file)
    }

    /// The one path that starts with `prefix` and has no `/` after it.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn only(&self, prefix: &str) -> Result<&str> {
        let mut found = self
            .below(prefix)
            .filter(|name| !name[prefix.len()..].contains('/'));
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name),
            (None, _) => anyhow::bail!("the Debian tree has no /{prefix}*"),
            (Some(a), Some(b)) => anyhow::bail!("the Debian tree has /{a} and /{b}: which one?"),
        }
    }

    /// The content of the file `name`; symbolic links are followed within the tree.
    ///
    /// # Errors
    /// There is no such file, or the archive cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut name = name.to_owned();
        for _ in 0..8 {
            let index = self.names.get(&name);
            let entry =
                &self.entries[*index.with_context(|| format!("the tree has no /{name}"))?];
            if let Some(link) = &entry.link {
                name = resolve(&name, link);
                continue;
            }
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(entry.data))?;
            let mut bytes = Vec::new();
            file.take(entry.size).read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        anyhow::bail!("/{name} is a link that leads nowhere")
    }

    /// Writes what is `chosen` of the tree to `to`, and `added`.
    ///
    /// # Errors
    /// The disk is full, or a file to add cannot be read.
    pub fn rewrite(&self, to: &Path, chosen: &Chosen, added: &[Added]) -> Result<()> {
        let doing = || format!("writing {}", to.display());
        let mut from = File::open(&self.path)?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(to).with_context(doing)?);
        let mut position = 0;
        for entry in self.taken(chosen, added) {
            if position != entry.start {
                from.seek(SeekFrom::Start(entry.start))?;
            }
            std::io::copy(&mut (&mut from).take(entry.end - entry.start), &mut out)
                .with_context(doing)?;
            position = entry.end;
        }
        let mut builder = Builder::new(out);
        for directory in self.missing_directories(added) {
            append(
                &mut builder,
                &Added {
                    path: directory,
                    what: What::Directory,
                },
            )?;
        }
        for entry in added {
            if entry.what != What::Directory || !self.names.contains_key(&entry.path) {
                append(&mut builder, entry).with_context(|| format!("adding /{}", entry.path))?;
            }
        }
        let mut out = builder.into_inner().with_context(doing)?;
        out.flush().with_context(doing)
    }

    /// The entries of the tree that stay: those that are `chosen` and `added` does not replace.
    fn taken<'a>(
        &'a self,
        chosen: &'a Chosen,
        added: &'a [Added],
    ) -> impl Iterator<Item = &'a Entry> {
        let replaced = |name: &str| {
            added
                .iter()
                .any(|a| a.path == name && a.what != What::Directory)
        };
        let entries = self.entries.iter();
        entries.filter(move |entry| {
            chosen.takes(&entry.name, entry.directory) && !replaced(&entry.name)
        })
    }

    /// What [`RootTar::rewrite`] writes below `prefix`, which ends with `/`: the paths below it,
    /// and whether each is a directory.
    pub fn written(&self, prefix: &str, chosen: &Chosen, added: &[Added]) -> Vec<(String, bool)> {
        let missing = self.missing_directories(added);
        let taken = self.taken(chosen, added);
        let taken = taken.map(|entry| (entry.name.as_str(), entry.directory));
        let more = added
            .iter()
            .map(|it| (it.path.as_str(), it.what == What::Directory));
        let missing = missing.iter().map(|path| (path.as_str(), true));
        let all = taken.chain(more).chain(missing);
        let below = all.filter_map(|(path, directory)| {
            let path = path.strip_prefix(prefix)?;
            Some((path.to_owned(), directory))
        });
        below.collect()
    }

    /// Directories above added files that neither the tree nor `added` has.
    fn missing_directories(&self, added: &[Added]) -> Vec<String> {
        let mut missing = std::collections::BTreeSet::new();
        for entry in added {
            for dir in Path::new(&entry.path).ancestors().skip(1) {
                let dir = dir.to_string_lossy().into_owned();
                let known = dir.is_empty()
                    || self.names.contains_key(&dir)
                    || added.iter().any(|other| other.path == dir);
                if !known {
                    missing.insert(dir);
                }
            }
        }
        missing.into_iter().collect()
    }
}

fn append(builder: &mut Builder<impl Write>, entry: &Added) -> Result<()> {
    let mut header = Header::new_gnu();
    // A type byte of zero means the same, and not every reader knows.
    header.set_entry_type(EntryType::Regular);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH.parse().unwrap_or(0));
    let path = format!("./{}", entry.path);
    match &entry.what {
        What::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        What::Bytes(bytes, mode) => {
            header.set_mode(*mode);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, path, bytes.as_slice())?;
        }
        What::File(file, _, mode) => {
            let file = File::open(file).with_context(|| format!("opening {}", file.display()))?;
            header.set_mode(*mode);
            header.set_size(file.metadata()?.len());
            builder.append_data(&mut header, path, file)?;
        }
        What::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

/// Writes `added` alone as an archive.
///
/// # Errors
/// As [`RootTar::rewrite`].
pub fn write(to: &Path, added: &[Added]) -> Result<()> {
    let mut builder = Builder::new(BufWriter::new(File::create(to)?));
    for entry in added {
        append(&mut builder, entry)?;
    }
    builder.into_inner()?.flush()?;
    Ok(())
}

fn tidy(name: &str) -> String {
    name.trim_start_matches("./")
        .trim_end_matches('/')
        .to_owned()
}

/// Where the link at `name` to `target` leads, both relative to `/`.
fn resolve(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        let mut parts: Vec<&str> = name.split('/').collect();
        parts.pop();
        parts
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::Selection;

    #[test]
    fn what_stays_is_copied_and_what_is_added_replaces() {
        let dir = tempfile::tempdir().expect("dir");
        let (base, out) = (dir.path().join("base.tar"), dir.path().join("out.tar"));
        let long = format!("usr/{}/file", "long/".repeat(40));
        let tree = [
            Added::directory("usr"),
            Added::text("usr/keep", "keep"),
            Added::text("usr/drop/a", "a"),
            Added::text("usr/replace", "old"),
            Added::text(&long, "deep"),
            Added::link("usr/link", "keep"),
        ];
        write(&base, &tree).expect("write");
        let base = RootTar::open(&base).expect("open");
        assert_eq!(base.read("usr/link").expect("read"), b"keep");
        let added = [
            Added::text("usr/replace", "new"),
            Added::text("new/dir/file", "n"),
        ];
        static SELECTION: Selection = Selection {
            left_out: &["usr/drop/"],
            emptied: &[],
            modules: &[],
            cuts: &[],
        };
        let chosen = SELECTION.of(&base).expect("a selection");
        base.rewrite(&out, &chosen, &added).expect("rewrite");
        let out = RootTar::open(&out).expect("open");
        assert_eq!(out.read("usr/replace").expect("read"), b"new");
        assert_eq!(out.read(&long).expect("read"), b"deep");
        assert!(out.read("usr/drop/a").is_err());
        assert!(out.below("new/dir").eq(["new/dir", "new/dir/file"]));
        let mut written = base.written("new/", &chosen, &added);
        written.sort();
        let expected = [("dir", true), ("dir/file", false)];
        assert!(
            written
                .iter()
                .map(|(path, is)| (path.as_str(), *is))
                .eq(expected)
        );
        let written = base.written("usr/", &chosen, &added);
        assert!(written.contains(&("replace".to_owned(), false)));
        assert!(written.iter().all(|(path, _)| path != "drop/a"));
    }

    #[test]
    fn links_lead_inside_the_tree() {
        assert_eq!(
            resolve("etc/os-release", "../usr/lib/os-release"),
            "usr/lib/os-release"
        );
        assert_eq!(resolve("a/b", "/c/../d"), "d");
    }
}
