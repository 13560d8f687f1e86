// SPDX-License-Identifier: GPL-3.0-or-later
//! The commit that is wanted is taken, what is to end is stopped, and what should run and does not is
//! started, as many at the same time as order and memory allow, and each by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::channel;

use anyhow::{Context as _, Result, anyhow};
use domus_model::changes::Deed;
use domus_model::names::Name;
use domus_model::reconcile::{Decision, Known, Sight, Standing};
use domus_model::status::State;
use domus_model::units::Size;
use domus_system::interrupt;
use domus_virt::Hypervisor;

use crate::applied::{Applied, Failed, Pending, Started};
use crate::console_log;
use crate::context::Context;
use crate::keep::{self, Crew, Endings, Remember};
use crate::live;
use crate::lock::Lock;
use crate::loops;
use crate::notes::{Notes, one_line};
use crate::observe::Observer;
use crate::refresh;
use crate::steps::{Ballooning, Steps, Wish};
use crate::stop::{self, Ended, How, Patience, end_wave};
use crate::tune;
use crate::warn;

/// One that does not shut down runs on.
const PATIENCE: Patience = Patience {
    timeout: None,
    force: false,
};

/// Takes the commit that is booted next, if `take`, restarts and stops what it says, and starts
/// every domU that should run and does not; but only those that are named, stopped by hand or not,
/// if any are. What waits for another to be up is left to whoever keeps domUs running.
///
/// # Errors
/// Nothing could be done at all. A domU that could not be started is no error here.
pub(crate) fn apply(context: &Context, wish: &Wish, take: bool) -> Result<Applied> {
    interrupt::catch().context("catching signals")?;
    let mut observer = Observer::new(context);
    let (mut applied, refresh) = change(context, &mut observer, wish, take)?;
    let next = Arc::new(context.again()?);
    applied.start(&next, &mut observer, wish)?;
    // Another commit may have come in between, which whoever took it gives.
    if next.commit == applied.commit {
        applied.refreshed = refresh::all(&next, &mut observer, &refresh)?;
    }
    if !applied.failed.is_empty() || !applied.stopped.is_empty() {
        clear_loops(context, &mut observer)?;
    }
    Ok(applied)
}

/// All but starting domUs, while nobody starts one.
/// Returns with it what is to be run in domUs that take another configuration.
fn change(
    context: &Context,
    observer: &mut Observer,
    wish: &Wish,
    take: bool,
) -> Result<(Applied, BTreeMap<Name, Vec<Deed>>)> {
    let _lock = Lock::take(&context.paths)?;
    let context = &context.again()?;
    let names = &wish.names;
    names
        .iter()
        .try_for_each(|name| context.domu(name).map(drop))?;
    let next = match take && names.is_empty() {
        true => live::next(context)?,
        false => None,
    };
    let next = next.map(|next| next.keep(context));
    let next = &next.transpose()?.unwrap_or_else(|| context.clone());
    names
        .iter()
        .try_for_each(|name| Notes::on(&context.paths, name).ask())?;
    if wish.tries_again_all() || next.commit != context.commit {
        forgive(next)?;
    }
    let domains = observer.domains()?;
    release_loops(next, observer);
    let steps = Steps::find(context, next, observer, &domains, wish)?;
    let mut applied = Applied::begin(next, &steps);
    applied.is_whole = names.is_empty();
    applied.take(context, next, &steps, wish.force)?;
    applied.stop(context, next, observer, &steps)?;
    let hypervisor = observer.hypervisor()?;
    applied.balloon(hypervisor, steps.dom0_memory);
    tune::all(next, hypervisor, &steps);
    if names.is_empty() {
        live::clear(next);
        console_log::trim_all(&next.paths, &next.host);
    }
    let refresh = steps.refresh.iter();
    let refresh = refresh.map(|name| (name.clone(), steps.changes.deeds_in(name)));
    Ok((applied, refresh.collect()))
}

/// Lets every domU be tried again that failed or was left.
fn forgive(context: &Context) -> Result<()> {
    for name in context.host.domus.keys() {
        let notes = Notes::on(&context.paths, name);
        let before = notes.record();
        let mut record = before.clone();
        record.forgive();
        if record != before {
            notes.keep(&record)?;
        }
    }
    Ok(())
}

/// Releases the loop devices that no domain uses. Not while somebody is starting one: returns whether
/// it was done.
pub(crate) fn clear_loops(context: &Context, observer: &mut Observer) -> Result<bool> {
    let lock = Lock::try_take(&context.paths)?;
    if lock.is_some() {
        release_loops(context, observer);
    }
    Ok(lock.is_some())
}

/// Releases the loop devices that no domain uses. What cannot be released costs a device number
/// and holds up nobody. Whoever calls it has the lock alone.
pub(crate) fn release_loops(context: &Context, observer: &mut Observer) {
    let pool = &context.host.storage.domus;
    let released = observer
        .ask(loops::in_use)
        .and_then(|in_use| loops::release(&context.paths, pool, &in_use))
        .context("releasing loop devices");
    match released {
        Ok(stay) => stay.iter().for_each(|device| {
            let device = device.display();
            warn(&anyhow!(
                "{device} is no domain's and still in use; it goes with its last user"
            ));
        }),
        Err(error) => warn(&error),
    }
}

impl Applied {
    /// Takes `next` in place of what runs, and runs what is to be run.
    fn take(
        &mut self,
        context: &Context,
        next: &Context,
        steps: &Steps,
        force: bool,
    ) -> Result<()> {
        let mut taken = context.taken.clone().unwrap_or_default();
        if steps.is_switch(force) {
            let conflicts = &steps.changes.conflicts;
            let overruled = if force { conflicts } else { &BTreeSet::new() };
            taken = live::take(next, conflicts, overruled, &steps.run)?;
            self.from = (next.commit != context.commit).then(|| context.commit.clone());
            self.conflicts.clone_from(&taken.kept);
            self.problems.clone_from(&taken.problems);
        }
        if !taken.left.is_empty() {
            self.ran = live::run(context, &mut taken)?;
        }
        Ok(())
    }

    /// Shuts down what is to end or to start anew, those that started last first. What started before
    /// one that does not shut down is left as it is.
    fn stop(
        &mut self,
        context: &Context,
        next: &Context,
        observer: &mut Observer,
        steps: &Steps,
    ) -> Result<()> {
        let names: BTreeSet<Name> = steps.stop.union(&steps.restart).cloned().collect();
        let mut domus = context.host.domus.clone();
        domus.extend(next.host.domus.clone());
        let mut waves = stop::waves(&domus, &names);
        let gone = names.iter().filter(|name| !domus.contains_key(*name));
        waves.insert(0, gone.cloned().collect());
        for wave in waves {
            if let Some(Failed { name, .. }) = self.failed.first() {
                // It may need those that started before it.
                let reason = format!("it is left as it is: {name} started later and still runs");
                let left = wave.into_iter().map(|name| Failed {
                    name,
                    reason: reason.clone(),
                });
                self.failed.extend(left.collect::<Vec<_>>());
                continue;
            }
            for Ended { name, how } in end_wave(observer, &domus, &wave, PATIENCE)? {
                match how {
                    How::Stays(why) => {
                        let advice = format!("`domus-dom0 stop --force {name}` destroys it");
                        let reason = format!("it does not shut down ({why}); {advice}");
                        self.failed.push(Failed { name, reason });
                    }
                    _ => {
                        Notes::on(&context.paths, &name).forget()?;
                        self.stopped.push(name);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes from dom0 what domUs shall have. If that fails, those that fit start all the same.
    fn balloon(&mut self, hypervisor: &Hypervisor, step: Option<Ballooning>) {
        let Some(step) = step else { return };
        match hypervisor.set_dom0_memory(Size::from_mib(step.to_mib)) {
            Ok(()) => self.dom0_memory = Some(step),
            Err(error) => self.dom0_failure = Some(one_line(&error)),
        }
    }

    /// Starts what can be started now, and says what waits.
    fn start(
        &mut self,
        context: &Arc<Context>,
        observer: &mut Observer,
        wish: &Wish,
    ) -> Result<()> {
        let (say, hear) = channel();
        let mut crew = Crew::new(move |name, attempt| drop(say.send((name, attempt))));
        let mut tried = BTreeSet::new();
        let asked = |name: &Name| wish.names.is_empty() || wish.names.contains(name);
        loop {
            let domains = observer.domains()?;
            let endings = Endings::new();
            let mut known = keep::known(context, observer, &domains, &endings, Remember::Yes)?;
            // Who asks does not want to wait until it is tried again.
            for (name, it) in known.iter_mut().filter(|(name, _)| !tried.contains(*name)) {
                if wish.tries_again_all() || wish.names.contains(name) {
                    it.record.forgive();
                }
            }
            let mut decision = keep::decided(context, observer, &known);
            // Each once: whoever keeps domUs running tries again.
            decision
                .start
                .retain(|name| asked(name) && !tried.contains(name) && !self.has_failed(name));
            if !interrupt::caught() {
                let hypervisor = Arc::clone(observer.hypervisor()?);
                crew.start(context, &hypervisor, &decision.start)?;
            }
            if crew.is_idle() {
                self.run_now(&known, &asked);
                self.wait_for(decision, &asked);
                return interrupt::check();
            }
            let (name, attempt) = hear.recv().context("waiting for domUs to start")?;
            crew.is_done(&name);
            if let Err(error) = attempt {
                self.failed.push(Failed {
                    name: name.clone(),
                    reason: one_line(&error),
                });
                self.failed.sort_by(|a, b| a.name.cmp(&b.name));
            }
            tried.insert(name);
        }
    }

    /// Says what runs that did not before, whoever was the first to start it.
    fn run_now(&mut self, known: &BTreeMap<Name, Known>, asked: &dyn Fn(&Name) -> bool) {
        for (name, known) in known.iter().filter(|(name, _)| asked(name)) {
            if let Sight::Runs { id, .. } = known.sight
                && !self.kept.contains(name)
                && !self.has_failed(name)
            {
                let name = name.clone();
                self.started.push(Started { name, id });
            }
        }
    }

    /// Whether it runs, by what was found.
    fn runs(&self, name: &Name) -> bool {
        self.kept.contains(name) || self.started.iter().any(|started| started.name == *name)
    }

    /// Says what was not started, and why.
    fn wait_for(&mut self, decision: Decision, asked: &dyn Fn(&Name) -> bool) {
        let all = decision.standings.into_iter();
        for (name, Standing { state, reason, .. }) in all.filter(|(name, _)| asked(name)) {
            let Some(reason) = reason else {
                // Somebody else has taken it up, and is not done.
                if state == State::Starting && !self.runs(&name) {
                    let reason = "it is being started".to_owned();
                    self.pending.push(Pending { name, reason });
                }
                continue;
            };
            match state {
                State::Pending | State::Starting => self.pending.push(Pending { name, reason }),
                State::Failed if !self.has_failed(&name) => {
                    self.failed.push(Failed { name, reason })
                }
                State::Crashed | State::Stopped => self.left.push(Pending { name, reason }),
                _ => {}
            }
        }
    }
}
