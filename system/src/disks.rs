// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks of the operator's machine and what is on them, by util-linux: `lsblk` for what the kernel
//! says, `blkid` for superblocks, as it needs no udev.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use domus_model::disk::{Content, Disk, Part};
use serde::Deserialize;

use crate::loopdev;
use crate::program::Program;

const COLUMNS: &str = "PATH,TYPE,SIZE,RM,RO,TRAN,MODEL,SERIAL,MOUNTPOINTS";

/// `lsblk --json`.
#[derive(Debug, Deserialize)]
struct Listed {
    blockdevices: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    rm: bool,
    ro: bool,
    tran: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    mountpoints: Vec<Option<String>>,
    /// Where the list is a tree.
    #[serde(default)]
    children: Vec<Row>,
}

impl Row {
    fn mounted(&self) -> Vec<String> {
        self.mountpoints.iter().flatten().cloned().collect()
    }
}

/// The disk (or whatever else it is) at `device`.
///
/// # Errors
/// It is no block device, or cannot be read.
pub fn find(device: &Path) -> Result<Disk> {
    let doing = || format!("looking at {}", device.display());
    let path = device.canonicalize().with_context(doing)?;
    let text = Program::new("lsblk")
        .args(["--json", "--bytes", "--output", COLUMNS])
        .arg(&path)
        .output()
        .with_context(doing)?;
    let mut disk = parse(&String::from_utf8_lossy(&text.stdout)).with_context(doing)?;
    ensure!(
        Path::new(&disk.path) == path,
        "{}: lsblk answered about {}",
        doing(),
        disk.path
    );
    disk.content = content(&disk.path).with_context(doing)?;
    for part in &mut disk.parts {
        part.content = content(&part.path).with_context(doing)?;
    }
    let devices: Vec<&str> = std::iter::once(disk.path.as_str())
        .chain(disk.parts.iter().map(|part| part.path.as_str()))
        .collect();
    let mut above = Vec::new();
    for (device, backing, _) in loopdev::attached()? {
        // The kernel lets anybody write to what is behind a loop device.
        if devices.iter().any(|path| Path::new(path) == backing) {
            above.push(Part {
                path: device.display().to_string(),
                kind: "loop".into(),
                size: disk.size,
                content: Content::default(),
                mounted: Vec::new(),
            });
        }
    }
    disk.parts.extend(above);
    Ok(disk)
}

/// What `lsblk --json` says of one device: it comes first, all that is made of it after it.
fn parse(text: &str) -> Result<Disk> {
    let listed: Listed = serde_json::from_str(text).context("reading what lsblk said")?;
    let mut rows = listed.blockdevices.into_iter();
    let Some(mut first) = rows.next() else {
        bail!("lsblk knows of no such device");
    };
    let mut parts = Vec::new();
    let mut left: Vec<Row> = first.children.drain(..).chain(rows).collect();
    left.reverse();
    while let Some(mut row) = left.pop() {
        left.extend(row.children.drain(..).rev());
        parts.push(Part {
            mounted: row.mounted(),
            path: row.path,
            kind: row.kind,
            size: row.size,
            content: Content::default(),
        });
    }
    let words = |text: &Option<String>| words(text.as_deref()?);
    Ok(Disk {
        mounted: first.mounted(),
        model: words(&first.model),
        serial: words(&first.serial),
        transport: words(&first.tran),
        path: first.path,
        kind: first.kind,
        size: first.size,
        removable: first.rm,
        read_only: first.ro,
        content: Content::default(),
        parts,
    })
}

/// What a disk says, without what is not for people: vendors write what they like, and it goes to a
/// terminal and into documents.
pub(crate) fn words(text: &str) -> Option<String> {
    let plain = |c: &char| *c == ' ' || (c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
    let text: String = text.chars().filter(plain).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// blkid(8): there is nothing that it knows.
const NOTHING: i32 = 2;

/// What the superblocks of a device say.
fn content(path: &str) -> Result<Content> {
    let (_, said) = Program::new("blkid")
        .args(["--probe", "--output", "export", path])
        .answer(&[NOTHING])?;
    Ok(parse_content(&String::from_utf8_lossy(&said.stdout)))
}

/// What `blkid --output export` says.
fn parse_content(text: &str) -> Content {
    Content {
        table: value(text, "PTTYPE"),
        kind: value(text, "TYPE"),
        label: value(text, "LABEL"),
    }
}

/// The value of a key in `KEY=VALUE` lines; what a shell would take for more than a letter has a
/// backslash before it.
pub(crate) fn value(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    let mut plain = String::new();
    let mut rest = value.chars();
    while let Some(next) = rest.next() {
        let next = if next == '\\' {
            rest.next()
        } else {
            Some(next)
        };
        // Whoever made the label may have wanted more than to name it.
        plain.extend(next.filter(|next| !next.is_control()));
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// util-linux 2.38, a loop device with a partition that is mounted.
    const FLAT: &str = r#"{"blockdevices": [
      {"path":"/dev/loop0", "type":"loop", "size":67108864, "rm":false, "ro":false, "tran":null,
       "model":null, "serial":null, "mountpoints":[null]},
      {"path":"/dev/loop0p1", "type":"part", "size":20971520, "rm":false, "ro":false, "tran":null,
       "model":null, "serial":null, "mountpoints":["/tmp/m"]}]}"#;

    /// The same as a tree, of a stick with a volume group on it.
    const TREE: &str = r#"{"blockdevices": [
      {"path":"/dev/sdc", "type":"disk", "size":8589934592, "rm":true, "ro":false, "tran":"usb",
       "model":"Cruzer Blade    ", "serial":"4C530001", "mountpoints":[null], "children": [
         {"path":"/dev/sdc1", "type":"part", "size":8588886016, "rm":true, "ro":false, "tran":null,
          "model":null, "serial":null, "mountpoints":[null], "children": [
            {"path":"/dev/mapper/vg-a", "type":"lvm", "size":1048576, "rm":false, "ro":false,
             "tran":null, "model":null, "serial":null, "mountpoints":["[SWAP]"]}]}]}]}"#;

    #[test]
    fn what_is_made_of_a_disk_is_found_however_it_is_listed() {
        let flat = parse(FLAT).expect("a disk");
        assert_eq!((flat.kind.as_str(), flat.size), ("loop", 67_108_864));
        assert_eq!(flat.parts.len(), 1);
        assert_eq!(flat.parts[0].mounted, ["/tmp/m"]);
        let tree = parse(TREE).expect("a disk");
        assert_eq!(tree.model.as_deref(), Some("Cruzer Blade"));
        assert!(tree.removable && tree.mounted.is_empty());
        let kinds: Vec<&str> = tree.parts.iter().map(|part| part.kind.as_str()).collect();
        assert_eq!(kinds, ["part", "lvm"]);
        assert_eq!(tree.parts[1].mounted, ["[SWAP]"]);
        assert!(parse(r#"{"blockdevices": []}"#).is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn labels_are_unquoted_and_cannot_write_to_the_terminal() {
        let text = "DEVNAME=/dev/x\nLABEL=my\\ \x1bdata\nTYPE=ext4\nPART_ENTRY_TYPE=0x83\n";
        let expected = Content {
            table: None,
            kind: Some("ext4".into()),
            label: Some("my data".into()),
        };
        assert_eq!(parse_content(text), expected);
        assert!(parse_content("").is_blank());
    }
}
