// SPDX-License-Identifier: GPL-3.0-or-later
//! Keeping domUs running: what each is, and which are started now, from what is wanted, what is
//! seen and what is remembered. The same look gives the same answer, however often it is taken, and
//! whoever takes it: an agent that was killed goes on where it was.

mod record;
mod strays;

pub use record::{Down, How, LastWords, Moment, Record, Run, SOUND};
pub use strays::{Fate, Seen, Stray, strays};

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::{DomU, Restart};
use crate::moving::Away;
use crate::names::Name;
use crate::status::State;
use crate::units::Size;

/// A domU that fell so often in a row is left as it is.
pub const FALLS: u32 = 5;
/// So long after a first fall or failure it is tried again; twice as long after each other one. In
/// seconds.
const FIRST_PAUSE: u64 = 5;
/// At least so often. In seconds.
const LONGEST_PAUSE: u64 = 300;
/// A guest that did not report for so long is degraded, and nobody waits for it any more. In
/// seconds.
pub const PATIENCE: u64 = 300;
/// What Xen needs for a guest beside its memory: for each guest, and for each of its CPUs. Its
/// tables of pages are a share of its memory.
const FOR_GUEST: Size = Size::from_mib(4);
const FOR_CPU: Size = Size::from_mib(1);
const SHARE_OF_TABLES: u64 = 128;

/// What was seen of a domU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// There is no such domain.
    Absent,
    /// There is none just now, and libvirt is making it again: its guest restarts.
    Between,
    /// It runs.
    Runs {
        /// The number of its domain.
        id: u32,
        /// What its guest said.
        heard: Heard,
    },
    /// A domain has its name, and libvirt does not know that domain.
    Lost {
        /// Its number.
        id: u32,
        /// Whether it has the UUID of this domU, and no guest of it ever used its disks.
        is_unused: bool,
    },
}

/// What a guest said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// That it is up. A foreign image has nobody who would say so: its guest is, once it uses its
    /// disks.
    Up,
    /// That it is not well, or something that cannot be read; why.
    Ill(String),
}

/// All that is known of a domU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What was seen.
    pub sight: Sight,
    /// What is remembered; what was seen is in it already ([`Known::note`]).
    pub record: Record,
    /// Whether an operator stopped it.
    pub held: bool,
    /// Whether an operator started it, though it does not start by itself.
    pub asked: bool,
    /// Whether somebody is making its domain.
    pub busy: bool,
    /// Why it is not to be started here, if it is elsewhere.
    pub away: Option<Away>,
}

impl Known {
    /// Notes what was seen in what is remembered: `how` it ended, if somebody saw that.
    pub fn note(&mut self, how: Option<How>, now: Moment) {
        match &self.sight {
            Sight::Runs { id, heard } => self.record.runs(*id, *heard == Heard::Up, now),
            Sight::Absent if !self.busy => self.record.is_gone(how, now),
            _ => {}
        }
    }

    /// The domain in which it fell and whose last words are still the end of its console's log;
    /// before [`Known::note`]. Nobody has said anything since then while it does not run. One that
    /// runs again already has, and is asked about where nobody was there to hear it before.
    pub fn fell_in(&self) -> Option<u32> {
        let run = self.record.run.as_ref().map(|run| run.id);
        let heard = self.record.last_words.as_ref().map(|words| words.domain);
        match self.sight {
            Sight::Absent if self.busy => None,
            Sight::Absent => run.or_else(|| {
                let down = self.record.down.as_ref();
                heard.filter(|_| down.is_some_and(|down| down.how != How::Failed))
            }),
            Sight::Between => run.filter(|_| run != heard),
            Sight::Runs { id, .. } => run.filter(|run| *run != id && heard != Some(*run)),
            Sight::Lost { .. } => None,
        }
    }

    /// The domain that is left of an attempt to make one, during which libvirt ended.
    fn half_made(&self) -> Option<u32> {
        match self.sight {
            Sight::Lost {
                id,
                is_unused: true,
            } => self.record.attempted.then_some(id),
            _ => None,
        }
    }
}

/// What a domU is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// In a word.
    pub state: State,
    /// Why, where the word does not say it.
    pub reason: Option<String>,
    /// What it said last on its console before it fell, if it has not held since.
    pub last_words: Vec<String>,
    /// When it may be something else without anything having happened.
    pub until: Option<Moment>,
}

impl Standing {
    /// What nobody has looked at yet.
    pub fn stopped() -> Self {
        Self::of(State::Stopped)
    }

    fn of(state: State) -> Self {
        Self {
            state,
            reason: None,
            last_words: Vec::new(),
            until: None,
        }
    }
}

/// What follows from a look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What each domU is.
    pub standings: BTreeMap<Name, Standing>,
    /// Those that are started now, all at the same time.
    pub start: Vec<Name>,
    /// Domains that were half made when libvirt was killed, which are destroyed.
    pub clear: BTreeMap<Name, u32>,
    /// When to look again at the latest, if nothing happens.
    pub wake: Option<Moment>,
}

/// What a domU is by itself, whatever the others are.
enum Own {
    Is(Standing),
    /// It would be started if the others let it.
    Starts,
}

fn is(state: State, reason: Option<String>, until: Option<Moment>) -> Own {
    Own::Is(Standing {
        reason,
        until,
        ..Standing::of(state)
    })
}

/// Decides about the domUs of a host. `free`: memory that Xen has given to nobody, if it is known.
pub fn decide(
    domus: &BTreeMap<Name, DomU>,
    known: &BTreeMap<Name, Known>,
    free: Option<Size>,
    now: Moment,
) -> Decision {
    let mut decision = Decision::default();
    let mut starts = BTreeSet::new();
    for domu in domus.values() {
        let Some(of_it) = known.get(&domu.name) else {
            continue;
        };
        if let Some(id) = of_it.half_made()
            && !of_it.busy
        {
            decision.clear.insert(domu.name.clone(), id);
        }
        match own(domu, of_it, now) {
            Own::Is(standing) => drop(decision.standings.insert(domu.name.clone(), standing)),
            Own::Starts => drop(starts.insert(&domu.name)),
        }
    }
    let mut free = free.map(|free| left_of(free, domus, known));
    while let Some(name) = first(&starts, domus) {
        starts.remove(name);
        let domu = &domus[name];
        let waits = waits(domu, &decision.standings, known, now);
        let standing = match waits.or_else(|| lacks(domu, &mut free, now)) {
            Some(standing) => standing,
            None => {
                decision.start.push(domu.name.clone());
                Standing::of(State::Pending)
            }
        };
        decision.standings.insert(domu.name.clone(), standing);
    }
    for (name, standing) in &mut decision.standings {
        standing.last_words = last_words(standing.state, &known[name].record);
    }
    let untils = decision.standings.values().filter_map(|it| it.until);
    decision.wake = untils.min();
    decision
}

fn own(domu: &DomU, known: &Known, now: Moment) -> Own {
    let (name, record) = (&domu.name, &known.record);
    match &known.sight {
        Sight::Runs { heard, .. } => return running(domu, known, heard, now),
        _ if known.busy => return is(State::Starting, None, None),
        Sight::Between => {
            let reason = (!record.making).then(|| "it restarts itself".to_owned());
            return is(State::Starting, reason, None);
        }
        Sight::Lost { .. } if known.half_made().is_some() => {
            let reason = "it was half made when libvirt ended; what there is of it is cleared away";
            return is(State::Starting, Some(reason.to_owned()), None);
        }
        Sight::Lost { id, .. } => {
            let reason = format!(
                "the domain {id} has its name, and libvirt does not know that domain: it was made \
                 with `xl`; look at it, then `xl destroy {id}`"
            );
            return is(State::Failed, Some(reason), None);
        }
        Sight::Absent => {}
    }
    if let Some(away) = &known.away {
        let state = match away {
            Away::Left(_) | Away::Expected(_) => State::Stopped,
            Away::Unknown(_) => State::Failed,
        };
        return is(state, Some(away.reason(name)), None);
    }
    if known.held {
        return is(State::Stopped, Some(held_reason(name)), None);
    }
    if !domu.autostart && !known.asked && record.down.is_none() {
        let reason = format!("it does not start by itself; `domus-dom0 start {name}` starts it");
        return is(State::Stopped, Some(reason), None);
    }
    let Some(down) = &record.down else {
        return Own::Starts;
    };
    let advice = format!("`domus-dom0 start {name}` starts it");
    match (down.how, domu.restart) {
        (How::ShutDown, Restart::OnCrash | Restart::Never) => {
            let reason = format!("{}; {advice}", down.reason);
            return is(State::Stopped, Some(reason), None);
        }
        (How::Crashed, Restart::Never) => {
            let reason = format!("{}; {advice}", down.reason);
            return is(State::Crashed, Some(reason), None);
        }
        (How::Crashed | How::ShutDown, _) if record.falls >= FALLS => {
            let (reason, falls) = (&down.reason, record.falls);
            let reason = format!("{reason}, {falls} times in a row: it is left so; {advice}");
            return is(State::Crashed, Some(reason), None);
        }
        _ => {}
    }
    let (state, times) = match down.how {
        How::Failed => (State::Failed, record.failures),
        How::Crashed | How::ShutDown => (State::Pending, record.falls),
    };
    let next = down.at.saturating_add(pause(times));
    match next.checked_sub(now) {
        None | Some(0) => Own::Starts,
        Some(left) => {
            let reason = format!("{}; tried again in {}", down.reason, seconds(left));
            is(state, Some(reason), Some(next))
        }
    }
}

fn running(domu: &DomU, known: &Known, heard: &Heard, now: Moment) -> Own {
    let run = known.record.run.as_ref();
    if known.held {
        let reason = "an operator stopped it, and it has not ended yet";
        return is(State::Stopping, Some(reason.to_owned()), None);
    }
    match heard {
        Heard::Ill(why) => is(State::Degraded, Some(why.clone()), None),
        Heard::Up if known.record.falls >= FALLS => {
            let falls = known.record.falls;
            let reason = format!("it restarted {falls} times in a row");
            let until = run.and_then(|run| Some(run.up? + SOUND));
            is(State::Degraded, Some(reason), until)
        }
        Heard::Up => is(State::Up, None, None),
        // Its GRUB leaves the disks to its kernel, for a moment.
        Heard::Nothing if domu.foreign && run.is_some_and(|run| run.up.is_some()) => {
            is(State::Up, None, None)
        }
        Heard::Nothing => {
            let since = run.map_or(now, |run| run.since);
            match since.saturating_add(PATIENCE).checked_sub(now) {
                Some(1..) => is(State::Starting, None, Some(since + PATIENCE)),
                _ => {
                    let ran = seconds(now.saturating_sub(since));
                    let what = match domu.foreign {
                        true => "does not use its disks",
                        false => "did not say that it is up",
                    };
                    let reason = format!("it has run for {ran} and {what}");
                    is(State::Degraded, Some(reason), None)
                }
            }
        }
    }
}

/// What a domU that fell said last, unless all is well or somebody wants it not to run.
fn last_words(state: State, record: &Record) -> Vec<String> {
    match (state, &record.last_words) {
        (State::Up | State::Stopping | State::Stopped, _) | (_, None) => Vec::new(),
        (_, Some(words)) => words.lines.clone(),
    }
}

/// One of `starts` that comes after no other of them.
fn first<'d>(starts: &BTreeSet<&'d Name>, domus: &BTreeMap<Name, DomU>) -> Option<&'d Name> {
    let is_first = |name: &&&Name| !domus[**name].after.iter().any(|it| starts.contains(it));
    // In a cycle, which `check` refuses, anyone is the first.
    let first = starts.iter().find(is_first).or_else(|| starts.first());
    first.copied()
}

/// How long nothing is done after this many falls or failures in a row. In seconds.
fn pause(times: u32) -> u64 {
    let doubled = FIRST_PAUSE.checked_shl(times.saturating_sub(1));
    doubled.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// What it waits for, if it waits for other domUs. One that failed or was stopped holds up nobody.
fn waits(
    domu: &DomU,
    standings: &BTreeMap<Name, Standing>,
    known: &BTreeMap<Name, Known>,
    now: Moment,
) -> Option<Standing> {
    let comes = |name: &&Name| {
        let state = standings.get(*name).map(|standing| standing.state);
        matches!(state, Some(State::Starting | State::Pending))
    };
    let coming: Vec<&str> = domu.after.iter().filter(comes).map(Name::as_str).collect();
    let pending = |reason: String, until| {
        Some(Standing {
            reason: Some(reason),
            until,
            ..Standing::of(State::Pending)
        })
    };
    if !coming.is_empty() {
        return pending(format!("waits for {} to be up", coming.join(", ")), None);
    }
    let delay = domu.delay?.duration().as_secs();
    let ups = domu.after.iter().filter_map(|name| {
        let run = known.get(name)?.record.run.as_ref()?;
        run.up
    });
    let begin = ups.max().unwrap_or_default();
    let next = begin.saturating_add(delay);
    let left = next.checked_sub(now).filter(|left| *left > 0)?;
    pending(format!("waits for {} more", seconds(left)), Some(next))
}

/// What it lacks, if Xen has not the memory for it; else that memory is taken.
fn lacks(domu: &DomU, free: &mut Option<Size>, now: Moment) -> Option<Standing> {
    let has = (*free)?;
    let needs = needs(domu);
    if needs <= has {
        *free = Some(less(has, needs));
        return None;
    }
    let (missing, has) = (less(needs, has).mib().max(1), has.mib());
    let reason = format!(
        "it needs {} MiB with what Xen keeps for it, and {has} MiB are free: {missing} MiB are missing",
        needs.mib()
    );
    Some(Standing {
        reason: Some(reason),
        until: Some(now + LONGEST_PAUSE),
        ..Standing::of(State::Failed)
    })
}

/// What is left of `free` memory for others than those that are being made and have not all of
/// theirs yet.
fn left_of(free: Size, domus: &BTreeMap<Name, DomU>, known: &BTreeMap<Name, Known>) -> Size {
    let is_made = |name: &&Name| known.get(*name).is_some_and(|known| known.busy);
    let made = domus.keys().filter(is_made);
    made.fold(free, |free, name| less(free, needs(&domus[name])))
}

fn needs(domu: &DomU) -> Size {
    let memory = domu.memory.bytes();
    let cpus = FOR_CPU.bytes() * u64::from(domu.vcpus);
    Size::from_kib((memory + memory / SHARE_OF_TABLES + cpus + FOR_GUEST.bytes()) >> 10)
}

fn less(from: Size, what: Size) -> Size {
    Size::from_kib(from.bytes().saturating_sub(what.bytes()) >> 10)
}

fn seconds(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// Why a domU that an operator stopped does not run.
pub fn held_reason(name: &Name) -> String {
    format!("stopped by hand; `domus-dom0 start {name}` starts it")
}

#[cfg(test)]
mod tests;
