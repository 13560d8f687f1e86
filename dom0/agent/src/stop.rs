// SPDX-License-Identifier: GPL-3.0-or-later
//! Shutting domUs down, those that started last first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread::sleep;
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
use crate::{Refused, warn};

const LOOK: Duration = Duration::from_millis(100);
/// How often a guest is asked. Linux does not hear it before its user space is there, nor while it
/// restarts; one that crashes is started again by libvirt, and does not know. To one that shuts
/// down already it means nothing.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What to do with a domU that does not shut down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// Whether it is destroyed then.
    pub(crate) force: bool,
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
        let ended = end_wave(&mut observer, &wave, patience)?;
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
    wave: &[Name],
    patience: Patience,
) -> Result<Vec<Ended>> {
    let before = still_known(observer, wave)?;
    let mut left = before.clone();
    let mut refusals: BTreeMap<Name, String> = BTreeMap::new();
    let begin = Instant::now();
    let mut ask = begin;
    loop {
        if ask <= Instant::now() {
            refusals = refused(observer, &left)?;
            ask += ASK_AGAIN;
        }
        // Who cannot be asked is perhaps between two runs, and can be in a moment.
        if left.is_empty() || begin.elapsed() >= patience.timeout {
            break;
        }
        sleep(LOOK);
        interrupt::check()?;
        left = still_known(observer, &left)?;
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

/// Asks those of `names` that run to shut down; returns why some could not be asked.
fn refused(observer: &mut Observer, names: &[Name]) -> Result<BTreeMap<Name, String>> {
    let running = observer.running()?;
    let mut refusals = BTreeMap::new();
    for name in names {
        if running.contains_key(name.as_str())
            && let Err(error) = observer.hypervisor()?.shutdown(name.as_str())
        {
            refusals.insert(name.clone(), one_line(&error));
        }
    }
    Ok(refusals)
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
