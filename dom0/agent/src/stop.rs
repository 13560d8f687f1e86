// SPDX-License-Identifier: GPL-3.0-or-later
//! Shutting domUs down, those that started last first.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
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
    let mut waves = plan(&context.host.domus, &BTreeSet::new()).start;
    waves.reverse();
    for mut wave in waves {
        wave.retain(|name| names.contains(name));
        stop_wave(&mut observer, &wave, patience)?;
    }
    let _lock = Lock::take(&context.paths)?;
    release_loops(context, &mut observer);
    Ok(())
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

fn stop_wave(observer: &mut Observer, wave: &[Name], patience: Patience) -> Result<()> {
    let asked = still_running(observer, wave)?;
    let mut refusals = Vec::new();
    for name in &asked {
        if let Err(error) = observer.hypervisor()?.shutdown(name.as_str()) {
            refusals.push(one_line(&error));
        }
    }
    let begin = Instant::now();
    let mut left = asked.clone();
    while !left.is_empty() && begin.elapsed() < patience.timeout && refusals.is_empty() {
        sleep(LOOK);
        interrupt::check()?;
        left = still_running(observer, &left)?;
    }
    // One that could not be asked may have ended by itself.
    left = still_running(observer, &left)?;
    if !left.is_empty() && !patience.force {
        let (seconds, reasons) = (patience.timeout.as_secs(), refusals.join("; "));
        let why = if reasons.is_empty() {
            format!("after {seconds} s")
        } else {
            reasons
        };
        let names = left.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        bail!(
            "still running: {names} ({why}); once shut down it is not started again; \
             `domus-dom0 stop --force {}` destroys it, as if its power were cut",
            names.replace(',', "")
        );
    }
    for name in &left {
        observer.hypervisor()?.destroy(name.as_str())?;
    }
    for name in wave {
        let word = match (asked.contains(name), left.contains(name)) {
            (_, true) => "destroyed",
            (true, false) => "stopped",
            (false, false) => "did not run",
        };
        println!("{name}   {word}");
    }
    Ok(())
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
