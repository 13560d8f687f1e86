// SPDX-License-Identifier: GPL-3.0-or-later
//! domUs that run take another configuration: their config disks are swapped and their guests told,
//! who say what came of it.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use domus_model::changes::Deed;
use domus_model::guest::config_device;
use domus_model::names::Name;
use domus_model::refresh::Refresh;
use domus_model::report::Report;
use domus_system::{interrupt, loopdev};
use serde::Serialize;

use crate::config_disk;
use crate::context::Context;
use crate::lock::Lock;
use crate::notes::{Notes, one_line};
use crate::observe::Observer;

/// How long a guest may take, with all that it runs then.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(200);

/// A domU that was given another configuration.
#[derive(Debug, Serialize)]
pub(crate) struct Refreshed {
    /// The domU.
    pub(crate) name: Name,
    /// Whether its guest has it now.
    pub(crate) taken: bool,
    /// Why it has not, or what could not be run in it then.
    pub(crate) failure: Option<String>,
}

/// A guest that was told.
struct Told {
    domain: u32,
    id: u64,
}

/// Gives the configuration of this commit to the guests of these domUs, which run, and waits for their
/// answers. What is run in each comes with it.
///
/// # Errors
/// The operator interrupts it.
pub(crate) fn all(
    context: &Context,
    observer: &mut Observer,
    wanted: &BTreeMap<Name, Vec<Deed>>,
) -> Result<Vec<Refreshed>> {
    let mut done = Vec::new();
    let mut waiting = BTreeMap::new();
    let failed = |name: &Name, error: &anyhow::Error| Refreshed {
        name: name.clone(),
        taken: false,
        failure: Some(one_line(error)),
    };
    for (name, run) in wanted {
        match tell(context, observer, name, run) {
            Ok(told) => drop(waiting.insert(name.clone(), told)),
            Err(error) => done.push(failed(name, &error)),
        }
    }
    let begin = Instant::now();
    while !waiting.is_empty() {
        let mut answers = Vec::new();
        for (name, told) in &waiting {
            observer.forget(told.domain);
            match observer.report(told.domain) {
                Ok(Some(report)) if answers_to(&report, told.id) => {
                    answers.push((name.clone(), report));
                }
                _ if begin.elapsed() > PATIENCE => {
                    let seconds = PATIENCE.as_secs();
                    let error = anyhow::anyhow!("its guest did not answer in {seconds} s");
                    done.push(failed(name, &error));
                }
                _ => {}
            }
        }
        for (name, report) in answers {
            waiting.remove(&name);
            done.push(answered(context, &name, report)?);
        }
        waiting.retain(|name, _| !done.iter().any(|it| it.name == *name));
        if !waiting.is_empty() {
            interrupt::check()?;
            sleep(LOOK);
        }
    }
    done.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(done)
}

fn answers_to(report: &Report, id: u64) -> bool {
    let answer = report.refreshed.as_ref();
    answer.is_some_and(|answer| answer.id == id)
}

/// Swaps the config disk of a domU and tells its guest.
fn tell(context: &Context, observer: &mut Observer, name: &Name, run: &[Deed]) -> Result<Told> {
    let _shared = Lock::share(&context.paths)?;
    let notes = Notes::on(&context.paths, name);
    let Some(_turn) = notes.turn()? else {
        bail!("somebody else is at work on it");
    };
    let Some(run_of_it) = notes.record().run else {
        bail!("it does not run any more");
    };
    let domain = run_of_it.id;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let id = since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    });
    let refresh = Refresh {
        id,
        commit: context.commit.clone(),
        run: run.to_vec(),
    };
    let refresh = refresh.render().context("too much is to be run in it")?;
    let domu = context.domu(name)?;
    let device = observer.disk(domain, config_device(domu.kind))?;
    let disk = config_disk::write(context, domu)?;
    loopdev::change(&device, &disk).context("its configuration grew: it needs a restart")?;
    observer.tell(domain, &refresh)?;
    Ok(Told { domain, id })
}

/// What the guest says, and what is remembered of it.
fn answered(context: &Context, name: &Name, report: Report) -> Result<Refreshed> {
    let taken = report.commit == context.commit;
    if taken {
        let notes = Notes::on(&context.paths, name);
        let _turn = notes.turn()?;
        let mut record = notes.record();
        record.commit = Some(report.commit);
        notes.keep(&record)?;
    }
    let failure = report.refreshed.and_then(|answer| answer.failure);
    Ok(Refreshed {
        name: name.clone(),
        taken,
        failure,
    })
}
