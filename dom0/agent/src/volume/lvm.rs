// SPDX-License-Identifier: GPL-3.0-or-later
//! Volumes as logical volumes. A new one carries the tag [`NEW`] until it is formatted: only what
//! carries it and is blank is ever formatted. What lvm2 is told is one change of its metadata each
//! time, which a power cut leaves done or not done.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use domus_model::fleet::{Disk, Fs};
use domus_model::units::Size;
use domus_model::volumes::{INCOMING, REPLACED};
use domus_system::block::{self, Content};
use domus_system::program::Program;
use serde::Deserialize;

use super::format::format;
use crate::warn;

/// Tag of a logical volume that was made here and not formatted yet.
const NEW: &str = "domus.new";
/// Tag of all that Domus makes for domUs, whatever it is called.
const OWN: &str = "domus.volume";
/// Tag of one that was restored, and read and found right: it takes the place of the volume.
const VERIFIED: &str = "domus.verified";
/// Ends the name of a snapshot that lasts as long as a copy is made of it.
pub(super) const COPIED: &str = ".copied";

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lv {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) size: u64,
    /// What it is a snapshot of.
    pub(super) origin: Option<String>,
    tags: Vec<String>,
    is_active: bool,
    /// Whether somebody has it open: a guest, or who mounted it.
    pub(super) is_open: bool,
}

impl Lv {
    fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|other| other == tag)
    }

    /// Whether Domus made it, by its tag.
    pub(super) fn is_marked(&self) -> bool {
        self.has(OWN)
    }
}

/// The volume `name` in the volume group `group`.
pub(super) fn prepare(group: &str, name: &str, size: Size, disk: &Disk) -> Result<PathBuf> {
    let full = format!("{group}/{name}");
    let doing = || format!("preparing the logical volume {full}");
    let all = settled(group, name).with_context(doing)?;
    let lv = match find(all, name) {
        Some(lv) => lv,
        None => {
            create(group, name, size).with_context(doing)?;
            let made = find(list(group).with_context(doing)?, name);
            made.with_context(|| format!("{}: it was made and is not there", doing()))?
        }
    };
    if !lv.is_active {
        activate(group, name).with_context(doing)?;
    }
    if lv.has(NEW) {
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
    let lv = find(list(group).with_context(doing)?, name);
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
            "--addtag",
            OWN,
        ])
        .args(["--size", &size, "--name", name, "--", group])
        .run()
}

/// Lets the logical volume be read and written.
pub(super) fn activate(group: &str, name: &str) -> Result<()> {
    change(&["--activate", "y"], &format!("{group}/{name}"))
}

fn change(how: &[&str], full: &str) -> Result<()> {
    Program::new("lvchange").args(how).args(["--", full]).run()
}

fn find(all: Vec<Lv>, name: &str) -> Option<Lv> {
    all.into_iter().find(|lv| lv.name == name)
}

/// All logical volumes of `group`.
pub(super) fn list(group: &str) -> Result<Vec<Lv>> {
    let fields = "lv_name,lv_path,lv_tags,lv_active,lv_size,origin,lv_device_open";
    let output = Program::new("lvs")
        .args(["--reportformat", "json", "--units", "b", "--nosuffix"])
        // Else Debian 13's lvs writes errors into the report, and nothing to standard error.
        .args(["--config", "log/report_command_log=0"])
        .args(["--options", fields, "--", group])
        .output()
        .with_context(|| {
            format!(
                "looking into the volume group {group} (is it on this host? `vgs` lists those \
                 that are, `vgcreate {group} DEVICE` makes it)"
            )
        })?;
    parse(&output.stdout).with_context(|| format!("reading what lvs says of {group}"))
}

/// Those of `group`, once a restore of `name` that was cut off is finished.
fn settled(group: &str, name: &str) -> Result<Vec<Lv>> {
    let mut all = list(group)?;
    while let Some(step) = next_step(&all, name)? {
        step.make(group, name)?;
        all = list(group)?;
    }
    Ok(all)
}

/// A step from a restored volume, which was found right, to the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The volume makes room.
    Aside,
    /// The restored one has its name.
    Place,
    /// The one from before goes.
    Remove,
}

fn next_step(all: &[Lv], name: &str) -> Result<Option<Step>> {
    let with = |end: &str| all.iter().find(|lv| lv.name == format!("{name}{end}"));
    let is_restored = with(INCOMING).is_some_and(|lv| lv.has(VERIFIED));
    Ok(
        match (with("").is_some(), is_restored, with(REPLACED).is_some()) {
            (true, true, false) => Some(Step::Aside),
            (false, true, _) => Some(Step::Place),
            (true, false, true) => Some(Step::Remove),
            (false, false, false) | (true, false, false) => None,
            (false, false, true) => bail!(
                "{name} is not there, and {name}{REPLACED} is, whose place it took: if its data is what \
             you want, `lvrename` it to {name}"
            ),
            (true, true, true) => bail!(
                "{name}, {name}{INCOMING} and {name}{REPLACED} are all there: `lvs` shows them; remove \
             what is not wanted"
            ),
        },
    )
}

impl Step {
    fn make(self, group: &str, name: &str) -> Result<()> {
        let rename = |from: &str, to: &str| {
            let [from, to] = [from, to].map(|end| format!("{name}{end}"));
            Program::new("lvrename")
                .args(["--", group, &from, &to])
                .run()
        };
        match self {
            Self::Aside => rename("", REPLACED),
            Self::Place => {
                rename(INCOMING, "")?;
                change(&["--deltag", VERIFIED], &format!("{group}/{name}"))
            }
            Self::Remove => remove(group, &format!("{name}{REPLACED}")),
        }
    }
}

/// Removes the logical volume `name`, which nobody uses and which has no snapshots: lvm2 refuses else,
/// as it asks and nobody answers.
pub(super) fn remove(group: &str, name: &str) -> Result<()> {
    let full = format!("{group}/{name}");
    change(&["--activate", "n"], &full)?;
    Program::new("lvremove").args(["--", &full]).run()
}

/// Removes a snapshot, which nobody uses. Its volume stays as it is.
pub(super) fn remove_snapshot(group: &str, name: &str) -> Result<()> {
    let full = format!("{group}/{name}");
    let program = Program::new("lvremove").args(["--yes", "--", &full]);
    program.clearing().run()
}

/// Makes the snapshot `name` of the logical volume `of`, in as much room as that takes itself.
pub(super) fn snapshot(group: &str, of: &str, name: &str) -> Result<()> {
    Program::new("lvcreate")
        .args(["--snapshot", "--permission", "r", "--addtag", OWN])
        .args(["--extents", "100%ORIGIN", "--name", name, "--"])
        .arg(format!("{group}/{of}"))
        .run()
        .with_context(|| {
            format!(
                "making a snapshot of {group}/{of} (`vgs {group}` shows how much room there is)"
            )
        })
}

/// A snapshot that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Passing {
    group: String,
    name: String,
    /// Where it is.
    pub(super) path: PathBuf,
}

impl Passing {
    /// Makes one of the logical volume `of`. One that somebody left who was killed is removed: nobody
    /// else copies that volume meanwhile.
    pub(super) fn of(group: &str, of: &str) -> Result<Self> {
        let name = format!("{of}{COPIED}");
        let is_left = |lv: &Lv| lv.origin.as_deref() == Some(of) && lv.is_marked();
        if find(list(group)?, &name).is_some_and(|lv| is_left(&lv)) {
            remove_snapshot(group, &name)?;
        }
        snapshot(group, of, &name)?;
        let path = find(list(group)?, &name).map(|lv| lv.path);
        let (group, full) = (group.to_owned(), format!("{group}/{name}"));
        let path = path.with_context(|| format!("{full} was made and is not there"))?;
        Ok(Self { group, name, path })
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Err(error) = remove_snapshot(&self.group, &self.name) {
            warn(&error.context("it is in the way of nothing; the next copy removes it"));
        }
    }
}

/// A logical volume that is to take the place of another, and is removed when it is dropped before.
#[derive(Debug)]
pub(super) struct Incoming {
    group: String,
    name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    is_accepted: bool,
}

impl Incoming {
    /// Makes one of `size` bytes for the volume `name`. What is left of a restore that was cut off is
    /// finished or removed: nobody else restores that volume meanwhile.
    pub(super) fn new(group: &str, name: &str, size: u64) -> Result<Self> {
        let incoming = format!("{name}{INCOMING}");
        if find(settled(group, name)?, &incoming).is_some() {
            remove(group, &incoming)?;
        }
        create(group, &incoming, Size::from_kib(size.div_ceil(1024)))?;
        let path = find(list(group)?, &incoming).map(|lv| lv.path);
        let path = path.with_context(|| format!("{group}/{incoming} was made and is not there"))?;
        Ok(Self {
            group: group.to_owned(),
            name: name.to_owned(),
            path,
            is_accepted: false,
        })
    }

    /// Gives it the name of the volume, and removes that. From the first step on whoever starts the
    /// domU next does the others, if nobody else has.
    pub(super) fn accept(mut self) -> Result<()> {
        let full = format!("{}/{}{INCOMING}", self.group, self.name);
        change(&["--deltag", NEW, "--addtag", VERIFIED], &full)?;
        self.is_accepted = true;
        settled(&self.group, &self.name).map(drop)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.is_accepted {
            return;
        }
        let full = format!("{}/{}{INCOMING}", self.group, self.name);
        let program = Program::new("lvremove").args(["--yes", "--", &full]);
        if let Err(error) = program.clearing().run() {
            warn(&error.context("it is in the way of nothing; the next restore removes it"));
        }
    }
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
    lv_size: String,
    origin: String,
    lv_device_open: String,
}

fn parse(text: &[u8]) -> Result<Vec<Lv>> {
    let listing: Listing = serde_json::from_slice(text)?;
    let rows = listing.report.into_iter().flat_map(|report| report.lv);
    let lv = |row: Row| {
        let size = row.lv_size.parse();
        Ok(Lv {
            size: size.with_context(|| format!("the size of {} is no number", row.lv_name))?,
            name: row.lv_name,
            path: row.lv_path,
            origin: Some(row.origin).filter(|origin| !origin.is_empty()),
            tags: row.lv_tags.split(',').map(str::to_owned).collect(),
            is_active: row.lv_active == "active",
            is_open: row.lv_device_open == "open",
        })
    };
    rows.map(lv).collect()
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
                  {"lv_name":"db.data", "lv_path":"/dev/vg0/db.data", "lv_tags":"", "lv_active":"", "lv_size":"8388608", "origin":"", "lv_device_open":"unknown"},
                  {"lv_name":"web.data", "lv_path":"/dev/vg0/web.data", "lv_tags":"a,domus.new", "lv_active":"active", "lv_size":"4194304", "origin":"", "lv_device_open":"open"},
                  {"lv_name":"web.data.x", "lv_path":"/dev/vg0/web.data.x", "lv_tags":"domus.volume", "lv_active":"active", "lv_size":"4194304", "origin":"web.data", "lv_device_open":""}
              ]
          }
      ]
  }
"#;

    fn lv(name: &str, tags: &[&str]) -> Lv {
        Lv {
            name: name.into(),
            path: PathBuf::from(format!("/dev/vg0/{name}")),
            size: 4 << 20,
            origin: None,
            tags: tags.iter().copied().map(str::to_owned).collect(),
            is_active: true,
            is_open: false,
        }
    }

    #[test]
    fn a_listing_is_read() {
        let db = Lv {
            size: 8 << 20,
            is_active: false,
            ..lv("db.data", &[""])
        };
        let web = Lv {
            is_open: true,
            ..lv("web.data", &["a", NEW])
        };
        let snapshot = Lv {
            origin: Some("web.data".into()),
            ..lv("web.data.x", &[OWN])
        };
        assert_eq!(parse(LVS).expect("json"), [db, web, snapshot]);
        assert!(parse(b"").is_err());
    }

    #[test]
    fn a_restore_that_was_cut_off_is_finished_and_the_volume_is_never_made_anew_meanwhile() {
        let (old, other) = (lv("web.data", &[]), lv("db.data", &[]));
        let incoming = |tag| lv("web.data.incoming", &[OWN, tag]);
        let replaced = lv("web.data.replaced", &[]);
        let step = |all: &[&Lv]| {
            let all: Vec<Lv> = all.iter().copied().chain([&other]).cloned().collect();
            next_step(&all, "web.data")
        };
        let right = &incoming(VERIFIED);
        for (all, expected) in [
            (&[][..], None),
            (&[&old], None),
            (&[&old, &incoming(NEW)], None),
            (&[&old, right], Some(Step::Aside)),
            (&[&replaced, right], Some(Step::Place)),
            (&[&old, &replaced], Some(Step::Remove)),
            (&[right], Some(Step::Place)),
        ] {
            assert_eq!(step(all).expect("a step"), expected, "{all:?}");
        }
        let lost = step(&[&replaced]).expect_err("nobody knows");
        assert!(lost.to_string().contains("`lvrename`"), "{lost}");
        assert!(step(&[&old, right, &replaced]).is_err());
    }
}
