// SPDX-License-Identifier: GPL-3.0-or-later
//! Shutting domUs down, those that started last first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use domus_model::fleet::DomU;
use domus_model::names::Name;
use domus_model::plan::plan;
use domus_system::interrupt;

use crate::Refused;
use crate::apply::release_loops;
use crate::context::Context;
use crate::lock::Lock;
use crate::notes::{Notes, one_line};
use crate::observe::Observer;

const LOOK: Duration = Duration::from_millis(100);

/// What to do with a domU that does not shut down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// Whether it is destroyed then.
    pub(crate) force: bool,
}

/// Stops the domUs in `names`, or all, and leaves them so.
///
/// # Errors
/// One of them still runs; the others may.
pub(crate) fn stop(context: &Context, names: &[Name], patience: Patience) -> Result<()> {
    interrupt::catch().context("catching signals")?;
    let mut observer = Observer::new(context);
    let names = chosen(context, &mut observer, names)?;
    {
        // Whoever is starting them shall be done, and nobody shall begin to.
        let _lock = Lock::take(&context.paths)?;
        for name in &names {
            let notes = Notes::on(&context.paths, name);
            notes.hold()?;
            notes.forget()?;
        }
    }
    let mut still = Vec::new();
    for wave in waves(&context.host.domus, &names) {
        let ended = end_wave(&mut observer, &wave, patience)?;
        for Ended { name, how } in &ended {
            match how {
                How::Stays(why) => still.push((name.clone(), why.clone())),
                how => println!("{name}   {how}"),
            }
        }
        // Those that started before them may be needed by them.
        if !still.is_empty() {
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

/// The domUs that are meant; all of the host if none is named.
fn chosen(context: &Context, observer: &mut Observer, names: &[Name]) -> Result<BTreeSet<Name>> {
    if names.is_empty() {
        return Ok(context.host.domus.keys().cloned().collect());
    }
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
    wave: &[Name],
    patience: Patience,
) -> Result<Vec<Ended>> {
    let asked = still_running(observer, wave)?;
    let mut refusals: BTreeMap<&Name, String> = BTreeMap::new();
    for name in &asked {
        if let Err(error) = observer.hypervisor()?.shutdown(name.as_str()) {
            refusals.insert(name, one_line(&error));
        }
    }
    let begin = Instant::now();
    let mut left = asked.clone();
    while left.iter().any(|name| !refusals.contains_key(name)) && begin.elapsed() < patience.timeout
    {
        sleep(LOOK);
        interrupt::check()?;
        left = still_running(observer, &left)?;
    }
    // One that could not be asked may have ended by itself.
    left = still_running(observer, &left)?;
    let mut ended = Vec::new();
    for name in wave {
        let how = match (asked.contains(name), left.contains(name)) {
            (false, _) => How::Absent,
            (true, false) => How::Stopped,
            (true, true) if patience.force => {
                observer.hypervisor()?.destroy(name.as_str())?;
                How::Destroyed
            }
            (true, true) => {
                let seconds = patience.timeout.as_secs();
                let waited = || format!("after {seconds} s");
                How::Stays(refusals.remove(name).unwrap_or_else(waited))
            }
        };
        let name = name.clone();
        ended.push(Ended { name, how });
    }
    Ok(ended)
}

/// Those of `names` that run.
fn still_running(observer: &mut Observer, names: &[Name]) -> Result<Vec<Name>> {
    let running = observer.running()?;
    Ok(names
        .iter()
        .filter(|name| running.contains_key(name.as_str()))
        .cloned()
        .collect())
}
