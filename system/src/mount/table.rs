// SPDX-License-Identifier: GPL-3.0-or-later
//! What is mounted, as `/proc/self/mountinfo` has it (Linux, Documentation/filesystems/proc.rst).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const TABLE: &str = "/proc/self/mountinfo";

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    id: u64,
    parent: u64,
    /// Where it is.
    pub point: PathBuf,
    /// Type of its file system.
    pub kind: String,
    /// Options of its file system.
    pub options: Vec<String>,
}

impl Entry {
    /// The upper directory of an overlay.
    pub fn upper(&self) -> Option<PathBuf> {
        let mut options = self.options.iter();
        let upper = options.find_map(|option| option.strip_prefix("upperdir="))?;
        Some(unescape(upper))
    }
}

/// What is mounted at `point`, the lowest first.
///
/// # Errors
/// The kernel's table cannot be read.
pub fn at(point: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(TABLE).with_context(|| format!("reading {TABLE}"))?;
    Ok(stack(&text, point))
}

fn stack(text: &str, point: &Path) -> Vec<Entry> {
    let mut left: Vec<Entry> = text.lines().filter_map(parse).collect();
    left.retain(|entry| entry.point == point);
    // Each one is the parent of the one on top of it.
    let is_first = |entry: &Entry| !left.iter().any(|other| other.id == entry.parent);
    let mut next = left.iter().find(|entry| is_first(entry));
    let mut found = Vec::new();
    while let Some(entry) = next {
        found.push(entry.clone());
        next = left.iter().find(|other| other.parent == entry.id);
    }
    found
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS…] - KIND SOURCE OPTIONS`
fn parse(line: &str) -> Option<Entry> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mount: Vec<&str> = mount.split(' ').collect();
    let mut file_system = file_system.split(' ');
    let (kind, options) = (file_system.next()?, file_system.nth(1)?);
    Some(Entry {
        id: mount.first()?.parse().ok()?,
        parent: mount.get(1)?.parse().ok()?,
        point: unescape(mount.get(4)?),
        kind: kind.to_owned(),
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// Spaces and a few others are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| more.get(..3)).flatten();
        let code = digits.and_then(|it| std::str::from_utf8(it).ok());
        match code.and_then(|it| u8::from_str_radix(it, 8).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18, while one overlay lay beneath another.
    const CAPTURED: &str = "\
63 62 254:0 / / rw,relatime shared:21 - ext4 /dev/root rw
67 96 0:40 / /etc rw,relatime shared:22 - overlay domus rw,lowerdir+=/l1,upperdir=/u\\0401,workdir=/w1,uuid=on
96 63 0:42 / /etc rw,relatime shared:23 master:4 - overlay domus rw,lowerdir+=/l2,upperdir=/u2,workdir=/w2,uuid=on
";

    #[test]
    fn mounts_at_one_place_are_in_the_order_in_which_they_lie() {
        let found = stack(CAPTURED, Path::new("/etc"));
        let uppers: Vec<_> = found.iter().filter_map(Entry::upper).collect();
        assert_eq!(uppers, [PathBuf::from("/u2"), PathBuf::from("/u 1")]);
        assert_eq!(stack(CAPTURED, Path::new("/")).len(), 1);
        assert_eq!(stack(CAPTURED, Path::new("/usr")), []);
        assert!(at(Path::new("/")).is_ok_and(|found| !found.is_empty()));
    }
}
