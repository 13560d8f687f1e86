// SPDX-License-Identifier: GPL-3.0-or-later
//! Shutting domUs down, those that started last first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use domus_model::fleet::DomU;
use domus_model::names::Name;
use domus_model::plan::plan;
use domus_system::interrupt;

use crate::apply::release_loops;
use crate::context::Context;
use crate::lock::Lock;
use crate::notes::{Notes, one_line};
use crate::observe::Observer;
use crate::pace;
use crate::{Refused, warn};

const LOOK: Duration = Duration::from_millis(100);
/// How often a guest is asked. Linux does not hear it while systemd is not there yet, nor while it
/// restarts; one that crashes is started again by libvirt, and does not know. To one that shuts
/// down already it means nothing.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// A guest that shows no sign of user space for so long is asked all the same.
const GRACE: Duration = Duration::from_secs(30);

/// How long a domain may take to shut down of which no document says it.
const DEFAULT: Duration = Duration::from_secs(60);

/// What to do with a domU that does not shut down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long it may take, if not as long as its document says.
    pub(crate) timeout: Option<Duration>,
    /// Whether it is destroyed then.
    pub(crate) force: bool,
}

impl Patience {
    /// How long the members of a wave may take: as long as the slowest.
    fn of(self, domus: &BTreeMap<Name, DomU>, wave: &[Name]) -> Duration {
        let own = |name: &Name| {
            domus
                .get(name)
                .map_or(DEFAULT, |it| it.stop_timeout.duration())
        };
        self.timeout
            .unwrap_or_else(|| wave.iter().map(own).max().unwrap_or(DEFAULT))
    }
}

/// Who is to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whom<'a> {
    /// These domUs of the host.
    Named(&'a [Name]),
    /// All domUs of the host.
    All,
    /// Every domain, because the host goes down.
    Everybody,
}

impl<'a> Whom<'a> {
    /// Those of the command line.
    pub(crate) fn of(names: &'a [Name], all: bool, strays: bool) -> Self {
        match (all, strays) {
            (_, true) => Self::Everybody,
            (true, false) => Self::All,
            (false, false) => Self::Named(names),
        }
    }
}

/// Stops domUs and leaves them so.
///
/// # Errors
/// One of them still runs; the others may.
pub(crate) fn stop(context: &Context, whom: Whom<'_>, patience: Patience) -> Result<()> {
    interrupt::catch().context("catching signals")?;
    let mut observer = Observer::new(context);
    let names = chosen(context, &mut observer, whom)?;
    {
        // Whoever is starting them shall be done, and nobody shall begin to.
        let _lock = Lock::take(&context.paths)?;
        for name in &names {
            let notes = Notes::on(&context.paths, name);
            notes.hold()?;
            notes.forget()?;
        }
    }
    let mut waves = waves(&context.host.domus, &names);
    if let Whom::Everybody = whom {
        waves.insert(0, strays(&mut observer, &names)?);
    }
    let mut still = Vec::new();
    for wave in waves {
        let ended = end_wave(&mut observer, &context.host.domus, &wave, patience)?;
        for Ended { name, how } in &ended {
            match how {
                How::Stays(why) => still.push((name.clone(), why.clone())),
                how => println!("{name}   {how}"),
            }
        }
        // Those that started before them may be needed by them, unless the power goes anyway.
        if !still.is_empty() && !matches!(whom, Whom::Everybody) {
            break;
        }
    }
    let _lock = Lock::take(&context.paths)?;
    release_loops(context, &mut observer);
    refuse(&still)
}

/// An error that names those that still run.
fn refuse(still: &[(Name, String)]) -> Result<()> {
    let Some((_, why)) = still.first() else {
        return Ok(());
    };
    let names: Vec<&str> = still.iter().map(|(name, _)| name.as_str()).collect();
    bail!(
        "still running: {} ({why}); once shut down it is not started again; \
         `domus-dom0 stop --force {}` destroys it, as if its power were cut",
        names.join(", "),
        names.join(" ")
    )
}

/// Those of `domus` that are in `names`, the last to start first.
pub(crate) fn waves(domus: &BTreeMap<Name, DomU>, names: &BTreeSet<Name>) -> Vec<Vec<Name>> {
    let mut waves = plan(domus, &BTreeSet::new()).start;
    waves.reverse();
    waves
        .iter_mut()
        .for_each(|wave| wave.retain(|name| names.contains(name)));
    waves.retain(|wave| !wave.is_empty());
    waves
}

/// Domains that nobody declared: those that libvirt can shut down. Who is left is named.
fn strays(observer: &mut Observer, declared: &BTreeSet<Name>) -> Result<Vec<Name>> {
    let mut found = Vec::new();
    let domains = observer.domains()?;
    for name in domains.running.into_keys() {
        match name.parse::<Name>() {
            Ok(name) if declared.contains(&name) => {}
            Ok(name) => found.push(name),
            Err(error) => warn(&anyhow!("{name:?} is not shut down: {error}")),
        }
    }
    for (name, id) in domains.unknown {
        warn(&anyhow!(
            "domain {id} ({name}) is not shut down: libvirt does not know it"
        ));
    }
    Ok(found)
}

/// The declared domUs that are meant.
fn chosen(context: &Context, observer: &mut Observer, whom: Whom<'_>) -> Result<BTreeSet<Name>> {
    let Whom::Named(names) = whom else {
        return Ok(context.host.domus.keys().cloned().collect());
    };
    for name in names {
        if let Err(error) = context.domu(name) {
            if observer.running()?.contains_key(name.as_str()) {
                let refusal = format!("{name} runs here and nobody declared it: it is left alone");
                bail!(Refused(refusal + "; `virsh shutdown` stops it"));
            }
            return Err(error);
        }
    }
    Ok(names.iter().cloned().collect())
}

/// A domU that was to end.
pub(crate) struct Ended {
    pub(crate) name: Name,
    pub(crate) how: How,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// It did not run.
    Absent,
    /// It shut down.
    Stopped,
    /// It did not, and was destroyed.
    Destroyed,
    /// It runs still, and why.
    Stays(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("did not run"),
            Self::Stopped => f.write_str("stopped"),
            Self::Destroyed => f.write_str("destroyed"),
            Self::Stays(why) => write!(f, "still runs ({why})"),
        }
    }
}

/// Shuts down the members of a wave at the same time.
///
/// # Errors
/// libvirt does not answer, or somebody pressed Ctrl-C.
pub(crate) fn end_wave(
    observer: &mut Observer,
    domus: &BTreeMap<Name, DomU>,
    wave: &[Name],
    patience: Patience,
) -> Result<Vec<Ended>> {
    let timeout = patience.of(domus, wave);
    let before = still_known(observer, wave)?;
    let mut left = before.clone();
    let mut asking = Asking::default();
    let begin = Instant::now();
    loop {
        let look = Instant::now();
        asking.ask(observer, &left, look)?;
        // Who cannot be asked is perhaps between two runs, and can be in a moment.
        if left.is_empty() || begin.elapsed() >= timeout {
            break;
        }
        interrupt::check()?;
        left = still_known(observer, &left)?;
        if !left.is_empty() {
            pace::rest(look, LOOK, timeout.saturating_sub(begin.elapsed()));
        }
    }
    // One that could not be asked may have ended by itself.
    left = still_known(observer, &left)?;
    let mut ended = Vec::new();
    for name in wave {
        let how = match (before.contains(name), left.contains(name)) {
            (false, _) => How::Absent,
            (true, false) => How::Stopped,
            (true, true) if patience.force => {
                match observer.hypervisor()?.destroy(name.as_str()) {
                    Ok(()) => How::Destroyed,
                    Err(_) if !observer.is_known(name.as_str())? => How::Stopped,
                    // The others of its wave, and the waves before it, are still to end.
                    Err(error) => How::Stays(one_line(&error)),
                }
            }
            (true, true) => {
                let seconds = timeout.as_secs();
                let waited = || format!("after {seconds} s");
                How::Stays(asking.refusals.remove(name).unwrap_or_else(waited))
            }
        };
        let name = name.clone();
        ended.push(Ended { name, how });
    }
    Ok(ended)
}

/// Guests that are asked to shut down.
#[derive(Debug, Default)]
struct Asking {
    /// By domain number: a guest that restarts has another.
    domains: BTreeMap<u32, Asked>,
    /// Why some could not be asked the last time.
    refusals: BTreeMap<Name, String>,
}

/// When a guest is asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    seen: Instant,
    next: Instant,
}

impl Asked {
    /// Seen for the first time `now`.
    fn new(now: Instant) -> Self {
        Self {
            seen: now,
            next: now,
        }
    }

    /// Whether it is asked `now`. A Linux that hears it before its user space runs powers off by
    /// halves: its disks go, and under PVH it runs on without them and hears nothing any more.
    fn is_due(&self, now: Instant, has_user_space: bool) -> bool {
        self.next <= now && (has_user_space || self.seen + GRACE <= now)
    }
}

impl Asking {
    /// Asks those of `names` that run and whose turn it is.
    fn ask(&mut self, observer: &mut Observer, names: &[Name], now: Instant) -> Result<()> {
        let running = observer.running()?;
        for name in names {
            let Some(&id) = running.get(name.as_str()) else {
                continue;
            };
            let asked = self.domains.entry(id).or_insert_with(|| Asked::new(now));
            if asked.next > now || !asked.is_due(now, observer.uses_its_disks(id)?) {
                continue;
            }
            asked.next = now + ASK_AGAIN;
            match observer.ask_to_end(name.as_str(), id) {
                Ok(()) => drop(self.refusals.remove(name)),
                Err(error) => drop(self.refusals.insert(name.clone(), one_line(&error))),
            }
        }
        Ok(())
    }
}

/// Those of `names` that run, or are just being started again.
fn still_known(observer: &mut Observer, names: &[Name]) -> Result<Vec<Name>> {
    let mut known = Vec::new();
    for name in names {
        if observer.is_known(name.as_str())? {
            known.push(name.clone());
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_asked_once_its_user_space_is_there_and_then_now_and_again() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut asked = Asked::new(begin);
        assert!(asked.is_due(begin, true));
        assert!(!asked.is_due(begin, false));
        assert!(!asked.is_due(after(29), false));
        assert!(asked.is_due(after(30), false), "it has another kernel");
        asked.next = after(30) + ASK_AGAIN;
        assert!(!asked.is_due(after(34), true));
        assert!(asked.is_due(after(35), true));
    }
}
