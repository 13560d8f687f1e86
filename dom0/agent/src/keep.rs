// SPDX-License-Identifier: GPL-3.0-or-later
//! Keeping domUs running: a look at all of them, and making domains for those that are to start.
//! What is to be done is `domus_model::reconcile`'s to say; what it was told is remembered in RAM, so
//! that whoever looks next, another process or another agent, goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use domus_model::etc::domu_uuid;
use domus_model::fleet::{DomU, Fs};
use domus_model::names::Name;
use domus_model::reconcile::{Decision, Heard, How, Known, LastWords, Moment, Sight, decide};
use domus_system::program::Program;
use domus_system::{machine, snapshot};
use domus_virt::Hypervisor;

use crate::context::Context;
use crate::lock::Lock;
use crate::notes::{Notes, one_line};
use crate::observe::{Domains, Observer};
use crate::{console_log, moving, start, warn};

/// So many domains are made at the same time: each keeps a CPU of dom0 busy for most of it.
const HANDS: usize = 8;

/// What is wrong with one whose kernel gets I/O errors for what it writes.
const FULL_SCRATCH: &str = "its scratch is full, and its root takes nothing more: give that disk a larger `size`; \
     `domus-dom0 restart NAME` begins the scratch anew";

/// How domains ended, by their names, as far as somebody saw it.
pub(crate) type Endings = BTreeMap<String, How>;

/// Whether what is seen is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remember {
    /// It is, by whoever keeps domUs running.
    Yes,
    /// It is not: somebody merely looks.
    No,
}

/// Seconds since the machine booted.
pub(crate) fn now() -> Moment {
    machine::uptime().as_secs()
}

/// All that is known of the domUs of this host.
///
/// # Errors
/// What was seen cannot be remembered.
pub(crate) fn known(
    context: &Context,
    observer: &mut Observer,
    domains: &Domains,
    endings: &Endings,
    remember: Remember,
) -> Result<BTreeMap<Name, Known>> {
    let mut all = BTreeMap::new();
    for (name, domu) in &context.host.domus {
        let notes = Notes::on(&context.paths, name);
        let turn = match remember {
            Remember::Yes => notes.turn()?,
            Remember::No => None,
        };
        let before = notes.record();
        let busy = match remember {
            Remember::Yes => turn.is_none(),
            Remember::No => before.making,
        };
        // Whoever only looks does not ask libvirt for what is being made: it has enough to do.
        let was_there = before.run.is_some() || (before.making && remember == Remember::Yes);
        let mut known = Known {
            sight: sight(context, observer, domains, domu, was_there),
            record: before.clone(),
            held: notes.is_held(),
            asked: notes.is_asked(),
            busy,
            away: moving::away(&context.paths, domu),
        };
        if let Some(domain) = known.fell_in()
            && let Some(lines) = console_log::last_lines(&context.paths, name)
        {
            known.record.last_words = Some(LastWords { domain, lines });
        }
        known.note(endings.get(name.as_str()).copied(), now());
        if turn.is_some() && known.record != before {
            notes.keep(&known.record)?;
        }
        all.insert(name.clone(), known);
    }
    Ok(all)
}

/// What is seen of `domu`. `was_there`: a domain of it may be between two runs.
fn sight(
    context: &Context,
    observer: &mut Observer,
    domains: &Domains,
    domu: &DomU,
    was_there: bool,
) -> Sight {
    let name = domu.name.as_str();
    if let Some(&id) = domains.running.get(name) {
        let heard = match observer.report(id) {
            _ if has_full_scratch(domu) => Heard::Ill(FULL_SCRATCH.to_owned()),
            Ok(Some(report)) => match report.ill {
                None => Heard::Up,
                Some(why) => Heard::Ill(format!("its health command fails: {why}")),
            },
            Ok(None) if domu.foreign && observer.uses_its_disks(id).unwrap_or(false) => Heard::Up,
            Ok(None) => Heard::Nothing,
            Err(why) => Heard::Ill(why),
        };
        return Sight::Runs { id, heard };
    }
    let unknown = domains.unknown.get(name);
    // One that cannot be asked about is taken for there: nothing is done to it.
    if (was_there || unknown.is_some()) && observer.is_known(name).unwrap_or(true) {
        return Sight::Between;
    }
    match unknown {
        Some(&id) => {
            let is_own = observer.uuid(id) == Some(domu_uuid(&context.fleet, domu));
            // If nobody can say it, it is.
            let is_used = observer.uses_its_disks(id).unwrap_or(true);
            let is_unused = is_own && !is_used;
            Sight::Lost { id, is_unused }
        }
        None => Sight::Absent,
    }
}

/// Whether there is no more room for what the root of a domU writes.
fn has_full_scratch(domu: &DomU) -> bool {
    let has_scratch = domu.disks.iter().any(|disk| disk.fs == Fs::Scratch);
    has_scratch && snapshot::is_full(domu.name.as_str()) == Some(true)
}

/// Whether anything is to be started, if there is memory for it.
pub(crate) fn starts_any(context: &Context, known: &BTreeMap<Name, Known>) -> bool {
    let decision = decide(&context.host.domus, known, None, now());
    !decision.start.is_empty()
}

/// What is to be done, with the memory that Xen has left if anything is to be started.
pub(crate) fn decided(
    context: &Context,
    observer: &mut Observer,
    known: &BTreeMap<Name, Known>,
) -> Decision {
    let domus = &context.host.domus;
    let decision = decide(domus, known, None, now());
    if decision.start.is_empty() {
        return decision;
    }
    let free = observer.hypervisor().and_then(|it| it.free_memory());
    decide(domus, known, free.ok(), now())
}

/// What came of an attempt to start a domU: the number of its domain; nothing if somebody else
/// started it, or it is not wanted any more.
pub(crate) type Attempt = Result<Option<u32>>;

/// Those who make domains, each in a thread.
pub(crate) struct Crew<F> {
    say: Arc<F>,
    at_work: BTreeSet<Name>,
}

impl<F: Fn(Name, Attempt) + Send + Sync + 'static> Crew<F> {
    /// They `say` what came of it, from their threads.
    pub(crate) fn new(say: F) -> Self {
        Self {
            say: Arc::new(say),
            at_work: BTreeSet::new(),
        }
    }

    /// Lets as many of `names` be started as there are hands for; the others at another look.
    pub(crate) fn start(
        &mut self,
        context: &Arc<Context>,
        hypervisor: &Arc<Hypervisor>,
        names: &[Name],
    ) -> Result<()> {
        for name in names {
            if self.at_work.len() >= HANDS {
                break;
            }
            if self.at_work.contains(name) {
                continue;
            }
            let (context, hypervisor) = (Arc::clone(context), Arc::clone(hypervisor));
            let (say, started) = (Arc::clone(&self.say), name.clone());
            let work = move || {
                let attempt = start_one(&context, &hypervisor, &started);
                say(started, attempt);
            };
            let thread = thread::Builder::new().name(format!("start-{name}"));
            thread
                .spawn(work)
                .with_context(|| format!("starting a thread for {name}"))?;
            self.at_work.insert(name.clone());
        }
        Ok(())
    }

    /// One of them is done.
    pub(crate) fn is_done(&mut self, name: &Name) {
        self.at_work.remove(name);
    }

    /// Whether none of them is at work.
    pub(crate) fn is_idle(&self) -> bool {
        self.at_work.is_empty()
    }
}

fn start_one(context: &Context, hypervisor: &Hypervisor, name: &Name) -> Attempt {
    let _shared = Lock::share(&context.paths)?;
    let notes = Notes::on(&context.paths, name);
    let Some(_turn) = notes.turn()? else {
        return Ok(None);
    };
    // Others may have been here since the look.
    let mut record = notes.record();
    if record.run.is_some() || notes.is_held() || !context.is_current() {
        return Ok(None);
    }
    let domu = context.domu(name)?;
    if moving::away(&context.paths, domu).is_some() {
        return Ok(None);
    }
    record.begin(&context.commit);
    notes.keep(&record)?;
    let result = start::start(context, hypervisor, domu);
    match &result {
        Ok(id) => record.succeed(*id, now()),
        Err(error) => record.fail(one_line(error), now()),
    }
    notes.keep(&record)?;
    result.map(Some)
}

/// Destroys what there is of a domain that was half made when libvirt ended: that does not know it.
pub(crate) fn clear(context: &Context, name: &Name, id: u32) -> Result<()> {
    let _shared = Lock::share(&context.paths)?;
    let notes = Notes::on(&context.paths, name);
    let Some(_turn) = notes.turn()? else {
        return Ok(());
    };
    Program::new("xl")
        .args(["destroy", &id.to_string()])
        .run()
        .with_context(|| format!("destroying what there is of {name}, domain {id}"))?;
    let mut record = notes.record();
    record.clear();
    notes.keep(&record)?;
    warn(&anyhow::anyhow!(
        "{name}: the domain {id} was half made when libvirt ended; it was destroyed"
    ));
    Ok(())
}
