// SPDX-License-Identifier: GPL-3.0-or-later
//! What is done with the disks of a host, given what was found on them. A disk that holds anything
//! is not touched: it is blank, or Domus was preparing it, or `erase` names all that is on it.

use super::claim::{Claim, ClaimState};
use super::note::Standing;
use super::{Disk, Found, Look, Seen};
use crate::disk::bytes;
use crate::fleet::LocalStorage;
use crate::units::Size;
use std::fmt;
use uuid::Uuid;

/// Something that is done, in order. Disks are named as in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Claims a disk, and gives it its partitions. What is on it is removed.
    Lay {
        /// The disk.
        disk: String,
        /// The mirror that it joins; with none, the disks that are laid now are born together.
        joins: Option<Uuid>,
        /// Bytes of a partition for `/config`, if it gets one.
        config: Option<u64>,
    },
    /// Makes a mirror of the partitions of two disks.
    Mirror([String; 2]),
    /// Makes the volume group, on the mirror or on the partition.
    Group,
    /// Writes that a disk is ready.
    Settle(String),
    /// Starts the mirror with these of its halves.
    Assemble(Vec<String>),
    /// Takes a disk into the mirror that runs.
    Join(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lay {
                disk,
                joins,
                config,
            } => {
                write!(f, "lay {disk}")?;
                if joins.is_some() {
                    f.write_str(" for the mirror")?;
                }
                match config {
                    Some(size) => write!(f, ", {} for /config", bytes(*size)),
                    None => Ok(()),
                }
            }
            Self::Mirror([one, two]) => write!(f, "mirror {one} {two}"),
            Self::Group => f.write_str("group"),
            Self::Settle(disk) => write!(f, "settle {disk}"),
            Self::Assemble(disks) => write!(f, "assemble {}", disks.join(" ")),
            Self::Join(disk) => write!(f, "join {disk}"),
        }
    }
}

/// What is done, and how the disks are then if all of it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// How the disks are.
    pub standing: Standing,
    /// Why they are not all in use.
    pub reasons: Vec<String>,
}

impl Plan {
    fn of(steps: Vec<Step>) -> Self {
        Self {
            steps,
            standing: Standing::Ok,
            reasons: Vec::new(),
        }
    }

    /// Whether there is something to keep things on.
    pub fn is_usable(&self) -> bool {
        self.standing <= Standing::Degraded
    }
}

/// What a disk is good for.
#[derive(Debug)]
enum Class {
    /// It is in use already.
    Ready(Ready),
    /// It can be prepared.
    New,
    /// Neither, and why.
    Bad(Standing, String),
}

/// A disk that is in use already.
#[derive(Debug, Clone, Copy)]
struct Ready {
    birth: Uuid,
    /// Bytes of its partition for `/config`.
    config: Option<u64>,
}

/// What follows for the disks `seen` of a host, which are those of its document, in order. `set`: by
/// what it knows its own.
pub fn decide(local: &LocalStorage, set: Uuid, seen: &[Seen]) -> Plan {
    let classes = seen.iter().map(|seen| classify(local, set, seen));
    let classes: Vec<(&str, Class)> = seen
        .iter()
        .map(|it| it.name.as_str())
        .zip(classes)
        .collect();
    let config = local.config.map(Size::bytes);
    match &classes[..] {
        [(disk, class)] => single(disk, class, config),
        [one, two] => mirror(one, two, config),
        _ => bad([&(Standing::Refused, "no disk is named".to_owned())]),
    }
}

fn single(disk: &str, class: &Class, config: Option<u64>) -> Plan {
    match class {
        Class::Ready(_) => Plan::of(Vec::new()),
        Class::New => Plan::of(vec![lay(disk, None, config), Step::Group, settle(disk)]),
        Class::Bad(standing, reason) => bad([&(*standing, reason.clone())]),
    }
}

fn mirror(
    (one, is_one): &(&str, Class),
    (two, is_two): &(&str, Class),
    config: Option<u64>,
) -> Plan {
    let both = [(*one).to_owned(), (*two).to_owned()];
    match (is_one, is_two) {
        (Class::New, Class::New) => Plan::of(vec![
            lay(one, None, config),
            lay(two, None, config),
            Step::Mirror(both),
            Step::Group,
            settle(one),
            settle(two),
        ]),
        (Class::Ready(a), Class::Ready(b)) if a.birth == b.birth => {
            Plan::of(vec![Step::Assemble(both.into())])
        }
        (Class::Ready(_), Class::Ready(_)) => {
            let reason = format!(
                "{one} and {two} are halves of different mirrors: Domus does not guess whose data \
                 is to be kept; name one of them alone beside a blank disk, or in `erase` all that \
                 is on the other"
            );
            bad([&(Standing::Refused, reason)])
        }
        (Class::Ready(ready), Class::New) => joined(one, *ready, two),
        (Class::New, Class::Ready(ready)) => joined(two, *ready, one),
        (Class::Ready(_), Class::Bad(_, reason)) => half(one, reason),
        (Class::Bad(_, reason), Class::Ready(_)) => half(two, reason),
        (Class::Bad(a, why), Class::Bad(b, because)) => {
            bad([&(*a, why.clone()), &(*b, because.clone())])
        }
        (Class::Bad(standing, reason), _) | (_, Class::Bad(standing, reason)) => {
            bad([&(*standing, reason.clone())])
        }
    }
}

/// What joins is laid as the other was, whatever the document says since: a half that is smaller
/// would not do.
fn joined(disk: &str, ready: Ready, new: &str) -> Plan {
    Plan::of(vec![
        Step::Assemble(vec![disk.to_owned()]),
        lay(new, Some(ready.birth), ready.config),
        Step::Join(new.to_owned()),
        settle(new),
    ])
}

/// A mirror of which one half is missing.
fn half(ready: &str, reason: &str) -> Plan {
    Plan {
        steps: vec![Step::Assemble(vec![ready.to_owned()])],
        standing: Standing::Degraded,
        reasons: vec![reason.to_owned()],
    }
}

fn bad<const N: usize>(why: [&(Standing, String); N]) -> Plan {
    let worst = why.iter().map(|(standing, _)| *standing).max();
    Plan {
        steps: Vec::new(),
        standing: worst.unwrap_or(Standing::Refused),
        reasons: why.iter().map(|(_, reason)| reason.clone()).collect(),
    }
}

fn lay(disk: &str, joins: Option<Uuid>, config: Option<u64>) -> Step {
    Step::Lay {
        disk: disk.to_owned(),
        joins,
        config,
    }
}

fn settle(disk: &str) -> Step {
    Step::Settle(disk.to_owned())
}

fn classify(local: &LocalStorage, set: Uuid, seen: &Seen) -> Class {
    let name = &seen.name;
    let refused = |reason: String| Class::Bad(Standing::Refused, format!("{name} {reason}"));
    let disk = match &seen.look {
        Look::Absent => {
            return Class::Bad(Standing::Waiting, format!("{name} is not there"));
        }
        Look::Unreadable(why) => return refused(format!("cannot be read: {why}")),
        Look::Disk(disk) => disk,
    };
    let named = |found: &Found| found.id.as_ref().is_some_and(|id| local.erases(id));
    let is_named = !disk.found.is_empty() && disk.found.iter().all(named);
    let own = disk.claim.as_ref().filter(|claim| claim.set == set);
    let is_new = match own {
        _ if is_named => true,
        Some(claim) if claim.state == ClaimState::Ready => {
            return match disk.read_only {
                true => refused("is write-protected: what it holds is not used".to_owned()),
                false => ready(local, name, claim, disk.config),
            };
        }
        // What it says is true as long as nobody has made anything else there.
        Some(claim) => is_half_made(disk, claim, named),
        None => disk.claim.is_none() && disk.zero && disk.found.is_empty(),
    };
    if !is_new {
        return refused(holds(disk));
    }
    let needs = needs(local);
    if disk.in_use {
        return refused("is in use: something on it is mounted, or part of another device".into());
    }
    if disk.read_only {
        return refused("is to be prepared, and is write-protected".into());
    }
    if disk.size < needs {
        let (has, needs) = (bytes(disk.size), bytes(needs));
        return refused(format!("has {has}, and {needs} are needed"));
    }
    Class::New
}

fn ready(local: &LocalStorage, name: &str, claim: &Claim, config: Option<u64>) -> Class {
    if claim.mirror == local.mirror {
        let birth = claim.birth;
        return Class::Ready(Ready { birth, config });
    }
    let (is, says) = match claim.mirror {
        true => ("is half of a mirror", "`mirror = true` is missing"),
        false => (
            "was prepared alone",
            "a mirror can only be made of disks that are blank: remove `mirror = true`",
        ),
    };
    Class::Bad(Standing::Refused, format!("{name} {is}: {says}"))
}

/// Whether there is nothing on a disk but what its claim says is being made, and what may be erased.
fn is_half_made(disk: &Disk, claim: &Claim, named: impl Fn(&Found) -> bool) -> bool {
    // The document may have got its `config` since, or lost it.
    let own = [claim.config(), claim.seed()].map(|id| id.to_string());
    let mut partitions = disk.partitions.iter();
    let has_own = !disk.partitions.is_empty() && partitions.all(|id| own.contains(id));
    let is_own = |found: &Found| match (found.inside, found.what.as_str()) {
        (false, "gpt table") => has_own,
        // What a table that is half written may look like.
        (false, "PMBR table") => disk.partitions.is_empty(),
        (true, "linux_raid_member" | "LVM2_member") => has_own,
        _ => false,
    };
    let mut found = disk.found.iter();
    found.all(|found| is_own(found) || named(found))
}

/// Why a disk is not touched.
fn holds(disk: &Disk) -> String {
    let whose = disk.claim.as_ref().map(|claim| {
        let (host, fleet) = (&claim.host, &claim.fleet);
        format!("the storage of {host} of fleet {fleet}: ")
    });
    let whose = whose.unwrap_or_default();
    if disk.found.is_empty() {
        return format!(
            "holds {whose}something that is not known, at its beginning or end: it is left as it \
             is; if nobody needs it, wipe it by hand: `blkdiscard --zeroout`"
        );
    }
    let each = disk.found.iter().map(|found| {
        let Found {
            device, what, id, ..
        } = found;
        match id {
            Some(id) => format!("{what} {id} on {device}"),
            None => format!("{what} without a UUID on {device}"),
        }
    });
    let each = each.collect::<Vec<_>>().join(", ");
    format!("holds {whose}{each}: it is left as it is; `erase` names all of it if it may be erased")
}

/// Bytes that a disk needs: what the document has room for, and what tables, arrays and volume
/// groups need beside it.
fn needs(local: &LocalStorage) -> u64 {
    let sizes = [local.var, local.tmp, local.swap].into_iter().flatten();
    let sum: u64 = sizes.fold(0, |sum, size| sum.saturating_add(size.bytes()));
    let config = local.config.map_or(0, Size::bytes);
    sum.saturating_add(sum / 512)
        .saturating_add(config)
        .saturating_add(64 << 20)
}
