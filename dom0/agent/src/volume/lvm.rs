// SPDX-License-Identifier: GPL-3.0-or-later
//! Volumes as logical volumes. A new one carries the tag [`NEW`] until it is formatted: only what
//! carries it and is blank is ever formatted.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use domus_model::fleet::{Disk, Fs};
use domus_model::units::Size;
use domus_system::block::{self, Content};
use domus_system::program::Program;
use serde::Deserialize;

use super::format::format;

/// Tag of a logical volume that was made here and not formatted yet.
const NEW: &str = "domus.new";

/// A logical volume.
#[derive(Debug, PartialEq, Eq)]
struct Lv {
    path: PathBuf,
    is_new: bool,
    is_active: bool,
}

/// The volume `name` in the volume group `group`.
pub(super) fn prepare(group: &str, name: &str, size: Size, disk: &Disk) -> Result<PathBuf> {
    let full = format!("{group}/{name}");
    let doing = || format!("preparing the logical volume {full}");
    let lv = match find(group, name).with_context(doing)? {
        Some(lv) => lv,
        None => {
            create(group, name, size).with_context(doing)?;
            let made = find(group, name).with_context(doing)?;
            made.with_context(|| format!("{}: it was made and is not there", doing()))?
        }
    };
    if !lv.is_active {
        change(&["--activate", "y"], &full).with_context(doing)?;
    }
    if lv.is_new {
        finish(&lv, disk).with_context(doing)?;
        change(&["--deltag", NEW], &full).with_context(doing)?;
    }
    super::examine(&lv.path, disk)?;
    Ok(lv.path)
}

/// Lets the volume grow, if it has less than it should.
pub(super) fn grow(group: &str, name: &str, wanted: Size) -> Result<()> {
    let full = format!("{group}/{name}");
    let doing = || format!("growing the logical volume {full} to {wanted}");
    let lv = find(group, name).with_context(doing)?;
    let lv = lv.with_context(|| format!("{}: it is not there", doing()))?;
    if super::size(&lv.path).with_context(doing)? >= wanted.bytes() {
        return Ok(());
    }
    let size = format!("{}b", wanted.bytes());
    Program::new("lvextend")
        .args(["--size", &size, "--", &full])
        .run()
        .with_context(doing)
}

/// Formats what was made here, unless that had been done when the power failed.
fn finish(lv: &Lv, disk: &Disk) -> Result<()> {
    match block::probe(&lv.path)? {
        Content::Unknown => format(&lv.path, disk),
        Content::FileSystem(found) if found.kind == disk.fs.to_string() => Ok(()),
        Content::Other("swap") if disk.fs == Fs::Swap => Ok(()),
        other => bail!(
            "{} carries the tag {NEW} and holds {}: it is left as it is; \
             `lvchange --deltag {NEW}` if that is right",
            lv.path.display(),
            other.name()
        ),
    }
}

/// Makes a logical volume and its tag in one transaction. What an earlier volume left on the same
/// extents is wiped by lvcreate, which does so to its own new volume only: else that would look
/// like this volume's content.
fn create(group: &str, name: &str, size: Size) -> Result<()> {
    let size = format!("{}b", size.bytes());
    Program::new("lvcreate")
        .args([
            "--yes",
            "--wipesignatures",
            "y",
            "--zero",
            "y",
            "--addtag",
            NEW,
        ])
        .args(["--size", &size, "--name", name, "--", group])
        .run()
}

fn change(how: &[&str], full: &str) -> Result<()> {
    Program::new("lvchange").args(how).args(["--", full]).run()
}

fn find(group: &str, name: &str) -> Result<Option<Lv>> {
    let output = Program::new("lvs")
        .args(["--reportformat", "json"])
        // Else Debian 13's lvs writes errors into the report, and nothing to standard error.
        .args(["--config", "log/report_command_log=0"])
        .args(["--options", "lv_name,lv_path,lv_tags,lv_active"])
        .args(["--", group])
        .output()
        .with_context(|| {
            format!(
                "looking into the volume group {group} (is it on this host? `vgs` lists those \
                 that are, `vgcreate {group} DEVICE` makes it)"
            )
        })?;
    parse(&output.stdout, name).with_context(|| format!("reading what lvs says of {group}"))
}

/// `lvs --reportformat json`, lvmreport(7).
#[derive(Deserialize)]
struct Listing {
    report: Vec<Report>,
}

#[derive(Deserialize)]
struct Report {
    lv: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    lv_name: String,
    lv_path: PathBuf,
    lv_tags: String,
    lv_active: String,
}

fn parse(text: &[u8], name: &str) -> Result<Option<Lv>> {
    let listing: Listing = serde_json::from_slice(text)?;
    let mut rows = listing.report.into_iter().flat_map(|report| report.lv);
    Ok(rows.find(|row| row.lv_name == name).map(|row| Lv {
        is_new: row.lv_tags.split(',').any(|tag| tag == NEW),
        is_active: row.lv_active == "active",
        path: row.lv_path,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As lvm2 2.03 prints it.
    const LVS: &[u8] = br#"
  {
      "report": [
          {
              "lv": [
                  {"lv_name":"db.data", "lv_path":"/dev/vg0/db.data", "lv_tags":"", "lv_active":""},
                  {"lv_name":"web.data", "lv_path":"/dev/vg0/web.data", "lv_tags":"a,domus.new", "lv_active":"active"}
              ]
          }
      ]
  }
"#;

    #[test]
    fn a_listing_is_read() {
        let path = |name: &str| PathBuf::from(format!("/dev/vg0/{name}"));
        let db = Lv {
            path: path("db.data"),
            is_new: false,
            is_active: false,
        };
        let web = Lv {
            path: path("web.data"),
            is_new: true,
            is_active: true,
        };
        assert_eq!(parse(LVS, "db.data").expect("json"), Some(db));
        assert_eq!(parse(LVS, "web.data").expect("json"), Some(web));
        assert_eq!(parse(LVS, "data").expect("json"), None);
        assert!(parse(b"", "data").is_err());
    }
}
