// SPDX-License-Identifier: GPL-3.0-or-later
//! The reconcile: the commit that is wanted is taken, and what should run and does not is started,
//! wave by wave, a wave's members at the same time and each by itself.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use domus_model::names::Name;
use domus_model::units::Size;
use domus_system::interrupt;
use domus_virt::Hypervisor;

use crate::applied::{Applied, Failed, Started};
use crate::console_log;
use crate::context::Context;
use crate::live;
use crate::lock::Lock;
use crate::loops;
use crate::notes::{Notes, one_line};
use crate::observe::{Domains, Observer};
use crate::start;
use crate::steps::{Ballooning, Steps, Wish};
use crate::stop::{self, Ended, How, Patience, end_wave};
use crate::tune;
use crate::warn;

/// How long a domU may take to shut down.
const PATIENCE: Patience = Patience {
    timeout: Duration::from_secs(60),
    force: false,
};

/// Takes the commit that is booted next, if `take`, restarts and stops what it says, and starts
/// every domU that should run and does not; but only those that are named, stopped by hand or not,
/// if any are.
///
/// # Errors
/// Nothing could be done at all. A domU that could not be started is no error here.
pub(crate) fn apply(context: &Context, wish: &Wish, take: bool) -> Result<Applied> {
    interrupt::catch().context("catching signals")?;
    let _lock = Lock::take(&context.paths)?;
    let context = &context.again()?;
    let names = &wish.names;
    names
        .iter()
        .try_for_each(|name| context.domu(name).map(drop))?;
    names
        .iter()
        .try_for_each(|name| Notes::on(&context.paths, name).release())?;
    let next = match take && names.is_empty() {
        true => live::next(context)?,
        false => None,
    };
    let next = next.map(|next| next.keep(context));
    let next = &next.transpose()?.unwrap_or_else(|| context.clone());
    let mut observer = Observer::new(context);
    let domains = observer.domains()?;
    release_loops(next, &mut observer);
    let steps = Steps::find(context, next, &mut observer, &domains, wish)?;
    let mut applied = Applied::begin(next, &steps);
    applied.is_whole = names.is_empty();
    applied.take(context, next, &steps, wish.force)?;
    for name in &steps.plan.keep {
        Notes::on(&context.paths, name).succeed()?;
    }
    applied.stop(context, next, &mut observer, &steps)?;
    let hypervisor = observer.hypervisor()?;
    applied.balloon(hypervisor, steps.dom0_memory);
    tune::all(next, hypervisor, &steps);
    for wave in &steps.plan.start {
        interrupt::check()?;
        applied.start(next, hypervisor, &domains, wave);
    }
    if !applied.failed.is_empty() || !applied.stopped.is_empty() {
        release_loops(next, &mut observer);
    }
    if names.is_empty() {
        live::clear(next);
        console_log::trim_all(&next.paths, &next.host);
    }
    Ok(applied)
}

/// Releases the loop devices that no domain uses. What cannot be released costs a device number
/// and holds up nobody.
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
            for Ended { name, how } in end_wave(observer, &wave, PATIENCE)? {
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

    /// Starts the members of a wave at the same time.
    fn start(
        &mut self,
        context: &Context,
        hypervisor: &Hypervisor,
        domains: &Domains,
        wave: &[Name],
    ) {
        let wave: Vec<&Name> = wave.iter().filter(|name| !self.has_failed(name)).collect();
        let results: Vec<Result<u32>> = thread::scope(|scope| {
            let start = |name| scope.spawn(move || start_one(context, hypervisor, domains, name));
            let threads: Vec<_> = wave.iter().copied().map(start).collect();
            let panicked = |_| {
                Err(anyhow!(
                    "starting it panicked; that is a defect of domus-dom0"
                ))
            };
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(panicked))
                .collect()
        });
        for (name, result) in wave.into_iter().cloned().zip(results) {
            match result {
                Ok(id) => self.started.push(Started { name, id }),
                Err(error) => self.failed.push(Failed {
                    name,
                    reason: one_line(&error),
                }),
            }
        }
    }
}

/// Starts one domU and notes how that went at once, for whoever watches.
fn start_one(
    context: &Context,
    hypervisor: &Hypervisor,
    domains: &Domains,
    name: &Name,
) -> Result<u32> {
    let domu = context.domu(name)?;
    let notes = Notes::on(&context.paths, name);
    let result = start::ensure_unknown(domu, domains.unknown.get(name.as_str()))
        .and_then(|()| notes.begin(&context.commit))
        .and_then(|()| start::start(context, hypervisor, domu));
    match &result {
        Ok(_) => notes.succeed()?,
        Err(error) => notes.fail(&one_line(error))?,
    }
    result
}
