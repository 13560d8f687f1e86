// SPDX-License-Identifier: GPL-3.0-or-later
//! Which partition is this machine's config partition, or which seed stands in for one, from what
//! was found on each. Exactly one, or none is taken.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::bad_value::{BadValue, quoted};
use crate::marker::Identity;
use crate::names::Name;

/// A partition, or a disk without any, and what was found on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Device name without `/dev/`.
    pub device: String,
    /// What its superblock says.
    pub content: String,
    /// How the kernel command line may name it.
    pub names: Vec<DiskName>,
    /// Whether it may be taken.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Whether a partition may be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Outcome")]
pub enum Finding {
    /// Its marker fits this machine, and it has something that may be run.
    Fits(Bound),
    /// Its marker fits, but what it has cannot be read before its journal is replayed, which
    /// writes to it. The reason, in words.
    Unsettled(Bound, String),
    /// The same as what fits, but only a copy of its superblock can be read.
    Damaged(Bound),
    /// A read-only seed whose marker fits, and which has something that may be run.
    Seed(Bound),
    /// It may not be taken, and it is a config partition of this machine, or may be one for all
    /// that can be read. The reason, in words.
    Broken(String),
    /// It may not. The reason, in words.
    Refused(String),
}

/// Whose a config partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The host that its marker names.
    pub host: Name,
    /// How the machine was recognised.
    pub by: String,
}

/// A finding as boot.json has it.
#[derive(Serialize)]
struct Outcome {
    fits: bool,
    reason: String,
}

impl From<Finding> for Outcome {
    fn from(finding: Finding) -> Self {
        Self {
            fits: finding.bound().is_some(),
            reason: finding.to_string(),
        }
    }
}

impl Finding {
    fn bound(&self) -> Option<&Bound> {
        match self {
            Self::Fits(bound)
            | Self::Unsettled(bound, _)
            | Self::Damaged(bound)
            | Self::Seed(bound) => Some(bound),
            Self::Broken(_) | Self::Refused(_) => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fits(Bound { host, by }) => write!(f, "host {host}, by {by}"),
            Self::Unsettled(Bound { host, by }, why) => {
                write!(f, "host {host}, by {by}, after its journal: {why}")
            }
            Self::Damaged(Bound { host, by }) => {
                write!(f, "host {host}, by {by}, by a copy of its superblock")
            }
            Self::Seed(Bound { host, by }) => write!(f, "a seed of host {host}, by {by}"),
            Self::Broken(reason) | Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// What the kernel command line calls a partition: `PARTUUID=…`, or `UUID=…` of the file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DiskName(String);

impl DiskName {
    /// The partition with this id: its GUID, or the signature of an MBR and its number.
    pub fn partition(id: &str) -> Self {
        Self(format!("PARTUUID={}", id.to_ascii_lowercase()))
    }

    /// The file system with this id.
    pub fn file_system(id: &str) -> Self {
        Self(format!("UUID={}", id.to_ascii_lowercase()))
    }
}

impl FromStr for DiskName {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let name = match text.split_once('=') {
            Some(("PARTUUID", id)) => Some((id, Self::partition(id))),
            Some(("UUID", id)) => Some((id, Self::file_system(id))),
            _ => None,
        };
        let is_id =
            |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        match name {
            Some((id, name)) if is_id(id) => Ok(name),
            _ => Err(BadValue::new(
                format!("{} names no partition", quoted(text)),
                "write domus.config=PARTUUID=… or domus.config=UUID=…, as `blkid` shows them",
            )),
        }
    }
}

impl fmt::Display for DiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The config partition: the only one that fits; or, if none does, the only one that will after
/// its journal was replayed; or, if none does, after its superblock was repaired; or, if none of
/// this machine is there at all, the only seed; or among these the one that the kernel command line
/// names. A seed has the commit of the day when it was made: by itself it never stands in for a
/// partition that may have a newer one.
///
/// # Errors
/// There is none, or more than one: one line for the console.
pub fn choose<'s>(
    seen: &'s [Seen],
    named: Option<&DiskName>,
) -> Result<(&'s Seen, &'s Bound), String> {
    if let Some(name) = named {
        return choose_named(seen, name);
    }
    let fit = |is: fn(&Finding) -> bool| -> Vec<(&Seen, &Bound)> {
        let those = seen.iter().filter(|seen| is(&seen.finding));
        those
            .filter_map(|seen| Some((seen, seen.finding.bound()?)))
            .collect()
    };
    let ranks: [fn(&Finding) -> bool; 4] = [
        |finding| matches!(finding, Finding::Fits(_)),
        |finding| matches!(finding, Finding::Unsettled(..)),
        |finding| matches!(finding, Finding::Damaged(_)),
        |finding| matches!(finding, Finding::Seed(_)),
    ];
    let mut fitting = ranks.map(fit).into_iter();
    let fitting = fitting.find(|those| !those.is_empty()).unwrap_or_default();
    let is_seed = matches!(fitting.first(), Some((it, _)) if is_seed(it));
    match fitting[..] {
        [(seed, _), ..] if is_seed && has_broken(seen) => Err(format!(
            "the config partition of this machine cannot be used, and {} may be older: no seed is \
             taken in its place by itself",
            seed.device
        )),
        [only] => Ok(only),
        [] => Err("no config partition for this machine".to_owned()),
        _ => {
            let what = if is_seed {
                "seeds"
            } else {
                "config partitions"
            };
            let number = fitting.len();
            Err(format!(
                "{number} {what} fit this machine; Domus does not guess"
            ))
        }
    }
}

fn is_seed(seen: &Seen) -> bool {
    matches!(seen.finding, Finding::Seed(_))
}

/// Whether a config partition of this machine is there, or what may be one, that cannot be used.
fn has_broken(seen: &[Seen]) -> bool {
    let mut findings = seen.iter().map(|seen| &seen.finding);
    findings.any(|finding| matches!(finding, Finding::Broken(_)))
}

fn choose_named<'s>(seen: &'s [Seen], name: &DiskName) -> Result<(&'s Seen, &'s Bound), String> {
    let named: Vec<&Seen> = seen
        .iter()
        .filter(|seen| seen.names.contains(name))
        .collect();
    match named[..] {
        [only] => match only.finding.bound() {
            Some(bound) => Ok((only, bound)),
            None => Err(format!(
                "{}, which the kernel command line asks for as {name}, does not fit",
                only.device
            )),
        },
        [] => Err(format!(
            "nothing here is {name}, which the kernel command line asks for"
        )),
        _ => Err(format!(
            "{} partitions are {name}: copies of one disk; Domus does not guess",
            named.len()
        )),
    }
}

/// The table for the consoles when none is taken: `why` is its first line.
pub fn refusal(why: &str, machine: &Identity, seen: &[Seen]) -> String {
    let uuid = machine
        .dmi_uuid
        .map_or("none".into(), |uuid| uuid.to_string());
    let serial = machine.serial.as_deref().unwrap_or("none");
    let macs: Vec<String> = machine.macs.iter().map(ToString::to_string).collect();
    let macs = if macs.is_empty() {
        "none".into()
    } else {
        macs.join(" ")
    };
    let mut text =
        format!("domus: {why}\n  machine   DMI UUID {uuid}   serial {serial}   MACs {macs}\n");
    for Seen {
        device,
        content,
        finding,
        ..
    } in seen
    {
        let fits = if finding.bound().is_some() {
            "fits: "
        } else {
            ""
        };
        text += &format!("  {device:<9} {content:<8} {fits}{finding}\n");
    }
    if seen.is_empty() {
        text += "  no disk was found at all\n";
    }
    text += "Nothing was written.\n";
    let fitting: Vec<&Seen> = seen
        .iter()
        .filter(|seen| seen.finding.bound().is_some())
        .collect();
    let is_held_back = has_broken(seen) && fitting.iter().all(|seen| is_seed(seen));
    let advice = match fitting.len() {
        0 => None,
        _ if is_held_back => Some(
            "Repair or remove that disk, or take a seed all the same: say so on the kernel command \
             line (`e` in the menu):\n",
        ),
        1 => None,
        _ => {
            Some("Remove a disk, or say which one on the kernel command line (`e` in the menu):\n")
        }
    };
    if let Some(advice) = advice {
        text += advice;
        for Seen { device, names, .. } in fitting {
            if let Some(name) = names.first() {
                text += &format!("  {device:<9} domus.config={name}\n");
            }
        }
    }
    text
}

/// The device that the rescue shell takes as an example: one that fits, if there is one.
pub fn example(seen: &[Seen]) -> &str {
    let fits = seen.iter().find(|seen| seen.finding.bound().is_some());
    fits.map_or("sda2", |seen| seen.device.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(device: &str, content: &str, finding: Finding) -> Seen {
        Seen {
            device: device.into(),
            content: content.into(),
            names: vec![
                DiskName::partition(&format!("0000000A-{}", &device[3..])),
                DiskName::file_system(device.trim_start_matches('s')),
            ],
            finding,
        }
    }

    fn alpha() -> Bound {
        Bound {
            host: "alpha".parse().expect("a name"),
            by: "DMI UUID".into(),
        }
    }

    fn fits(device: &str) -> Seen {
        seen(device, "ext4", Finding::Fits(alpha()))
    }

    fn unsettled(device: &str) -> Seen {
        let why = "no repository".to_owned();
        seen(device, "ext4", Finding::Unsettled(alpha(), why))
    }

    fn seed(device: &str) -> Seen {
        seen(device, "iso9660", Finding::Seed(alpha()))
    }

    fn broken(device: &str) -> Seen {
        let why = "marker fits, but it has no repository".to_owned();
        seen(device, "ext4", Finding::Broken(why))
    }

    fn refused(device: &str) -> Seen {
        seen(device, "vfat", Finding::Refused("no marker".into()))
    }

    fn chosen(seen: &[Seen], named: &str) -> Result<String, String> {
        let name: Option<DiskName> = (!named.is_empty()).then(|| named.parse().expect(named));
        choose(seen, name.as_ref()).map(|(seen, _)| seen.device.clone())
    }

    #[test]
    fn the_only_one_that_fits_is_taken() {
        let none = Err("no config partition for this machine".to_owned());
        assert_eq!(chosen(&[], ""), none);
        assert_eq!(chosen(&[refused("sda1")], ""), none);
        assert_eq!(
            chosen(&[refused("sda1"), fits("sda2")], ""),
            Ok("sda2".into())
        );
        let two = [fits("sda2"), fits("sdb2")];
        let several = chosen(&two, "").expect_err("two");
        assert!(several.starts_with("2 config partitions fit"), "{several}");
    }

    #[test]
    fn a_journal_is_replayed_only_where_nothing_else_fits() {
        let dirty = unsettled("sda2");
        assert_eq!(
            chosen(&[dirty.clone(), fits("sdb2")], ""),
            Ok("sdb2".into())
        );
        assert_eq!(
            chosen(&[dirty.clone(), refused("sdb2")], ""),
            Ok("sda2".into())
        );
        assert!(chosen(&[dirty.clone(), unsettled("sdb2")], "").is_err());
        assert_eq!(
            chosen(&[dirty, fits("sdb2")], "PARTUUID=0000000a-2"),
            Err(
                "2 partitions are PARTUUID=0000000a-2: copies of one disk; Domus does not guess"
                    .into()
            )
        );
    }

    #[test]
    fn a_superblock_is_repaired_only_where_nothing_else_fits() {
        let damaged = seen("sda2", "ext4", Finding::Damaged(alpha()));
        for better in [fits("sdb2"), unsettled("sdb2")] {
            let all = [damaged.clone(), better];
            assert_eq!(chosen(&all, ""), Ok("sdb2".into()));
        }
        let all = [damaged.clone(), refused("sdb2")];
        assert_eq!(chosen(&all, ""), Ok("sda2".into()));
        assert!(chosen(&[damaged.clone(), damaged], "").is_err());
    }

    #[test]
    fn a_seed_is_taken_only_where_no_config_partition_is() {
        let damaged = seen("sda2", "ext4", Finding::Damaged(alpha()));
        for better in [fits("sda2"), unsettled("sda2"), damaged] {
            assert_eq!(chosen(&[seed("sdc3"), better], ""), Ok("sda2".into()));
        }
        assert_eq!(
            chosen(&[refused("sda2"), seed("sdc3")], ""),
            Ok("sdc3".into())
        );
        let two = chosen(&[seed("sdc3"), seed("sdb")], "").expect_err("two");
        assert_eq!(two, "2 seeds fit this machine; Domus does not guess");
        // Not in place of one that may have a newer commit, unless somebody says so.
        let all = [broken("sda2"), seed("sdc3"), refused("sdb1")];
        let held_back = chosen(&all, "").expect_err("held back");
        assert!(held_back.contains("sdc3 may be older"), "{held_back}");
        assert_eq!(chosen(&all, "PARTUUID=0000000a-3"), Ok("sdc3".into()));
        let name = chosen(&all, "PARTUUID=0000000a-2").expect_err("it is broken");
        assert!(name.ends_with("does not fit"), "{name}");
        let text = refusal(&held_back, &Identity::default(), &all);
        let end = "or take a seed all the same: say so on the kernel command line (`e` in the menu):\n  \
                   sdc3      domus.config=PARTUUID=0000000a-3\n";
        assert!(text.ends_with(end), "{text}");
        assert!(text.contains("  sdc3      iso9660  fits: a seed of host alpha, by DMI UUID\n"));
        // What is broken is no reason to leave what fits.
        let all = [broken("sda2"), seed("sdc3"), fits("sdb2")];
        assert_eq!(chosen(&all, ""), Ok("sdb2".into()));
    }

    #[test]
    fn seeds_are_called_as_blkid_calls_them() {
        for name in ["UUID=1234-ABCD", "UUID=2026-11-29-12-00-00-00"] {
            let read: DiskName = name.parse().expect(name);
            let id = name.trim_start_matches("UUID=");
            assert_eq!(read, DiskName::file_system(id));
            assert_eq!(read.to_string(), name.replace("ABCD", "abcd"));
        }
    }

    #[test]
    fn the_kernel_command_line_decides_among_those_that_fit() {
        let all = [refused("sda1"), fits("sda2"), fits("sda3")];
        assert_eq!(chosen(&all, "PARTUUID=0000000A-3"), Ok("sda3".into()));
        assert_eq!(chosen(&all, "UUID=DA2"), Ok("sda2".into()));
        let stranger = chosen(&all, "PARTUUID=0000000a-1").expect_err("it does not fit");
        assert!(
            stranger.starts_with("sda1, which the kernel command line"),
            "{stranger}"
        );
        let nobody = chosen(&all, "PARTUUID=0000000a-9").expect_err("there is none");
        assert!(
            nobody.starts_with("nothing here is PARTUUID=0000000a-9"),
            "{nobody}"
        );
        for bad in [
            "",
            "xvda",
            "PARTUUID=",
            "LABEL=config",
            "UUID=a b",
            "PARTUUID=x",
        ] {
            assert!(bad.parse::<DiskName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_looked_at() {
        let machine = Identity {
            serial: Some("8QXK".into()),
            ..Identity::default()
        };
        let looked = [refused("sda1"), fits("sda2")];
        assert_eq!(
            refusal("no reason", &machine, &looked),
            "domus: no reason\n  \
               machine   DMI UUID none   serial 8QXK   MACs none\n  \
               sda1      vfat     no marker\n  \
               sda2      ext4     fits: host alpha, by DMI UUID\n\
             Nothing was written.\n"
        );
        assert_eq!((example(&looked), example(&[])), ("sda2", "sda2"));
        let empty = refusal("no reason", &machine, &[]);
        assert!(empty.contains("  no disk was found at all\n"), "{empty}");
    }

    #[test]
    fn two_that_fit_are_refused_with_what_decides() {
        let looked = [fits("sda2"), unsettled("sdb3")];
        let text = refusal("two", &Identity::default(), &looked);
        assert_eq!(
            text.matches("fits: host alpha, by DMI UUID").count(),
            2,
            "{text}"
        );
        let end = "  sda2      domus.config=PARTUUID=0000000a-2\n  \
                     sdb3      domus.config=PARTUUID=0000000a-3\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_record_says_what_fits_and_why() {
        let json = serde_json::to_value(unsettled("sda2")).expect("JSON");
        assert_eq!(json["fits"], true);
        assert_eq!(json["names"][0], "PARTUUID=0000000a-2");
        let reason = "host alpha, by DMI UUID, after its journal: no repository";
        assert_eq!(json["reason"], reason);
    }
}
