// SPDX-License-Identifier: GPL-3.0-or-later
//! The reconcile: what should run and does not is started, wave by wave, a wave's members at the
//! same time and each by itself.

use std::fmt::Write;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use domus_model::names::Name;
use domus_model::status::short;
use domus_model::units::Size;
use domus_system::interrupt;
use domus_virt::Hypervisor;
use serde::Serialize;

use crate::context::Context;
use crate::lock::Lock;
use crate::loops;
use crate::notes::{Notes, one_line};
use crate::observe::{Domains, Observer};
use crate::start;
use crate::steps::{Ballooning, Steps, strays_line};
use crate::warn;

/// What was done.
#[derive(Debug, Serialize)]
pub(crate) struct Applied {
    host: Name,
    commit: String,
    /// dom0's memory, if it was changed.
    dom0_memory: Option<Ballooning>,
    /// Why it could not be.
    dom0_failure: Option<String>,
    started: Vec<Started>,
    failed: Vec<Failed>,
    kept: Vec<Name>,
    held: Vec<Name>,
    strays: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Started {
    name: Name,
    /// Number of its domain.
    id: u32,
}

#[derive(Debug, Serialize)]
struct Failed {
    name: Name,
    reason: String,
}

/// Starts the domUs in `names` that do not run, stopped by hand or not; with no names, all that
/// were not stopped by hand.
///
/// # Errors
/// Nothing could be done at all. A domU that could not be started is no error here.
pub(crate) fn apply(context: &Context, names: &[Name]) -> Result<Applied> {
    names
        .iter()
        .try_for_each(|name| context.domu(name).map(drop))?;
    interrupt::catch().context("catching signals")?;
    let _lock = Lock::take(&context.paths)?;
    names
        .iter()
        .try_for_each(|name| Notes::on(&context.paths, name).release())?;
    let mut observer = Observer::new(context);
    let domains = observer.domains()?;
    release_loops(context, &mut observer);
    let steps = Steps::find(context, &mut observer, &domains, names)?;
    let mut applied = Applied::begin(context, &steps);
    for name in &steps.plan.keep {
        Notes::on(&context.paths, name).succeed()?;
    }
    let hypervisor = observer.hypervisor()?;
    applied.balloon(hypervisor, steps.dom0_memory);
    for wave in &steps.plan.start {
        interrupt::check()?;
        applied.start(context, hypervisor, &domains, wave);
    }
    if !applied.failed.is_empty() {
        release_loops(context, &mut observer);
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
    fn begin(context: &Context, steps: &Steps) -> Self {
        Self {
            host: context.host.name.clone(),
            commit: context.commit.clone(),
            dom0_memory: None,
            dom0_failure: None,
            started: Vec::new(),
            failed: Vec::new(),
            kept: steps.plan.keep.clone(),
            held: steps.held.clone(),
            strays: steps.plan.strays.clone(),
        }
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
        let results: Vec<Result<u32>> = thread::scope(|scope| {
            let start = |name| scope.spawn(move || start_one(context, hypervisor, domains, name));
            let threads: Vec<_> = wave.iter().map(start).collect();
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
        for (name, result) in wave.iter().cloned().zip(results) {
            match result {
                Ok(id) => self.started.push(Started { name, id }),
                Err(error) => self.failed.push(Failed {
                    name,
                    reason: one_line(&error),
                }),
            }
        }
    }

    /// Whether everything is as it should be.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.dom0_failure.is_none()
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("{}   commit {}\n", self.host, short(&self.commit));
        let mut line = |name: &dyn std::fmt::Display, what: &str| {
            let _ = writeln!(text, "  {:<7} {what}", name.to_string());
        };
        if let Some(Ballooning { from_mib, to_mib }) = self.dom0_memory {
            line(&"dom0", &format!("memory {from_mib} MiB -> {to_mib} MiB"));
        }
        if let Some(reason) = &self.dom0_failure {
            line(&"dom0", &format!("FAILED: {reason}"));
        }
        for Started { name, id } in &self.started {
            line(name, &format!("started as domain {id}"));
        }
        for Failed { name, reason } in &self.failed {
            line(name, &format!("FAILED: {reason}"));
        }
        self.kept.iter().for_each(|name| line(name, "runs"));
        for name in &self.held {
            line(name, &crate::status::held_reason(name));
        }
        text + &strays_line(&self.strays)
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
        .and_then(|()| start::start(context, hypervisor, domu));
    match &result {
        Ok(_) => notes.succeed()?,
        Err(error) => notes.fail(&one_line(error))?,
    }
    result
}
