// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 run`: keeps the domUs of this host running. It looks when libvirt or XenStore says that
//! something happened, when something is due, and now and then. It knows nothing that the next one
//! would not find: it may end at any instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use domus_model::fleet::Strays;
use domus_model::names::Name;
use domus_model::reconcile::{Decision, Fate, How, Known, Moment, Sight, Stray};
use domus_model::units::Size;
use domus_system::{interrupt, systemd};
use domus_virt::{Ending, Event, Events};

use crate::apply::clear_loops;
use crate::console_log;
use crate::context::Context;
use crate::ears::{Ears, Told};
use crate::heed::Heed;
use crate::keep::{self, Attempt, Crew, Endings, Remember};
use crate::lock::Lock;
use crate::notes::one_line;
use crate::observe::{Domains, Observer};
use crate::steps::ballooning;
use crate::{strays, tune, warn};

/// It looks so often if nothing happens.
const TICK: Duration = Duration::from_secs(10);
/// The same while libvirt or XenStore cannot be listened to.
const DEAF: Duration = Duration::from_secs(5);
/// What happens within so long of each other is looked at once.
const TOGETHER: Duration = Duration::from_millis(20);
/// How often it looks whether it is to end.
const SIGNAL: Duration = Duration::from_millis(500);
/// How a domain ended is of interest for so long: until the look that misses it; and what goes wrong is
/// said again. In seconds.
const STALE: u64 = 60;

/// Something that happened.
enum News {
    Libvirt(Event),
    Store(Told),
    Done(Name, Attempt),
}

/// Keeps domUs running until somebody ends this process.
///
/// # Errors
/// Signals cannot be caught, or no thread be started.
pub(crate) fn run(context: &Context) -> Result<()> {
    interrupt::catch().context("catching signals")?;
    let (say, hear) = channel();
    let done = say.clone();
    let mut keeper = Keeper {
        context: Arc::new(context.clone()),
        observer: Observer::new(context),
        crew: Crew::new(move |name, attempt| drop(done.send(News::Done(name, attempt)))),
        say,
        events: None,
        ears: None,
        endings: BTreeMap::new(),
        said: BTreeMap::new(),
        complaints: BTreeMap::new(),
        had: BTreeSet::new(),
        // An agent that was killed may have been at work.
        has_leftovers: true,
        given: BTreeSet::new(),
        has_dom0_share: false,
        kept_at: None,
        heed: Heed::default(),
    };
    let mut is_ready = false;
    while !interrupt::caught() {
        keeper.listen();
        let wake = keeper.look().unwrap_or_else(|error| {
            keeper.observer.disconnect();
            keeper.complain(&error);
            None
        });
        if !is_ready {
            systemd::ready()?;
            is_ready = true;
        }
        keeper.wait(&hear, wake)?;
    }
    // A domain that is being made is finished: the next one would find it half made.
    while !keeper.crew.is_idle() {
        if let News::Done(name, attempt) = hear.recv().context("waiting for domUs to start")? {
            keeper.done(&name, &attempt);
        }
    }
    Ok(())
}

/// What keeps domUs running.
struct Keeper<F> {
    context: Arc<Context>,
    observer: Observer,
    crew: Crew<F>,
    say: Sender<News>,
    events: Option<Events>,
    ears: Option<Ears>,
    /// How domains ended, and when that was heard.
    endings: BTreeMap<String, (How, Moment)>,
    /// What was last said of domUs that are not as they should be.
    said: BTreeMap<Name, String>,
    /// What was said to go wrong, and when.
    complaints: BTreeMap<String, Moment>,
    /// The domains that were seen last.
    had: BTreeSet<u32>,
    /// Whether loop devices may be left of a domain that ended, or was not made.
    has_leftovers: bool,
    /// Those of domUs that have all that no XML says.
    given: BTreeSet<u32>,
    /// Whether dom0 has its share of the CPUs, as far as this commit goes.
    has_dom0_share: bool,
    /// When dom0 did not give back memory, if it did not.
    kept_at: Option<Moment>,
    /// Who said something of itself lately.
    heed: Heed,
}

impl<F: Fn(Name, Attempt) + Send + Sync + 'static> Keeper<F> {
    /// Listens to whatever can be listened to and is not yet.
    fn listen(&mut self) {
        if self.events.is_none() {
            let say = self.say.clone();
            let listener = move |event| drop(say.send(News::Libvirt(event)));
            match Events::listen(&self.context.uri, listener) {
                Ok(events) => self.events = Some(events),
                Err(error) => self.complain(&error),
            }
        }
        if self.ears.is_none() {
            let say = self.say.clone();
            match Ears::open(move |heard| say.send(News::Store(heard)).is_ok()) {
                Ok(ears) => self.ears = Some(ears),
                Err(error) => self.complain(&error),
            }
        }
    }

    /// Says what went wrong, unless that was said in the last [`STALE`] seconds.
    fn complain(&mut self, error: &anyhow::Error) {
        let now = keep::now();
        self.complaints.retain(|_, at| now - *at < STALE);
        if self.complaints.insert(one_line(error), now).is_none() {
            warn(error);
        }
    }

    /// Looks at all domUs and does what follows. Returns when something is due.
    fn look(&mut self) -> Result<Option<Moment>> {
        let shared = Lock::share(&self.context.paths)?;
        if !self.context.is_current() {
            self.context = Arc::new(self.context.again()?);
            self.has_dom0_share = false;
        }
        let context = Arc::clone(&self.context);
        let domains = self.observer.domains()?;
        self.give_dom0();
        if let Some(ears) = &mut self.ears {
            ears.listen_to(domains.running.values().copied())?;
        }
        let now = keep::now();
        self.endings.retain(|_, (_, at)| now - *at < STALE);
        let endings: Endings = self
            .endings
            .iter()
            .map(|(name, (how, _))| (name.clone(), *how))
            .collect();
        let known = keep::known(
            &context,
            &mut self.observer,
            &domains,
            &endings,
            Remember::Yes,
        )?;
        if self.crew.is_idle() && keep::starts_any(&context, &known) {
            self.balloon();
        }
        let decision = keep::decided(&context, &mut self.observer, &known);
        self.say_how_they_are(&decision);
        self.give(&known);
        for (name, id) in &decision.clear {
            if let Err(error) = keep::clear(&context, name, *id) {
                warn(&error);
            }
        }
        self.destroy_strays(&domains);
        if !decision.start.is_empty() {
            let hypervisor = Arc::clone(self.observer.hypervisor()?);
            self.crew.start(&context, &hypervisor, &decision.start)?;
        }
        drop(shared);
        let has: BTreeSet<u32> = domains.ids().collect();
        self.has_leftovers |= self.had.difference(&has).next().is_some();
        self.had = has;
        if self.has_leftovers && self.crew.is_idle() {
            self.has_leftovers = !clear_loops(&context, &mut self.observer)?;
        }
        console_log::trim_all(&context.paths, &context.host);
        Ok(decision.wake)
    }

    /// Takes from dom0 what domUs shall have, before anybody asks whether there is enough. Where dom0
    /// keeps it, nobody waits for it again soon; what comes of that is seen when they start.
    fn balloon(&mut self) {
        let now = keep::now();
        if self.kept_at.is_some_and(|at| now - at < STALE) {
            return;
        }
        // Who starts them says so if there is no libvirt.
        let Ok(hypervisor) = self.observer.hypervisor().cloned() else {
            return;
        };
        let step = hypervisor
            .dom0_memory()
            .map(|memory| ballooning(&self.context.host, memory));
        let result = step.and_then(|step| {
            let Some(step) = step else { return Ok(()) };
            let result = hypervisor.set_dom0_memory(Size::from_mib(step.to_mib));
            self.kept_at = result.is_err().then_some(now);
            result
        });
        if let Err(error) = result {
            self.complain(&error);
        }
    }

    /// Gives dom0 its share of the CPUs, before domUs that start keep them busy.
    fn give_dom0(&mut self) {
        if self.has_dom0_share {
            return;
        }
        let hypervisor = self.observer.hypervisor();
        match hypervisor.and_then(|it| tune::give_dom0(it, &self.context.host.dom0)) {
            Ok(()) => self.has_dom0_share = true,
            Err(error) => self.complain(&error),
        }
    }

    /// Destroys what nobody declared, if host.toml says so. Nobody else takes a commit meanwhile.
    fn destroy_strays(&mut self, domains: &Domains) {
        if self.context.host.strays != Strays::Destroy {
            return;
        }
        let strays = strays::find(&self.context, &mut self.observer, domains);
        for stray in strays.iter().filter(|stray| stray.fate == Fate::Destroyed) {
            let Stray { name, id, .. } = stray;
            match strays::destroy(&mut self.observer, domains, stray) {
                Ok(()) => eprintln!(
                    "domus-dom0: {name}, domain {id}, was destroyed: nobody declared it, and \
                     host.toml wants strays destroyed"
                ),
                Err(error) => self.complain(&error),
            }
        }
    }

    /// Gives domains that are new what no XML says: a guest that restarted has lost it.
    fn give(&mut self, known: &BTreeMap<Name, Known>) {
        let mut given = BTreeSet::new();
        for (name, known) in known {
            let Sight::Runs { id, .. } = known.sight else {
                continue;
            };
            // Whoever makes a domain gives it everything.
            if !self.given.contains(&id) && !known.busy {
                let domu = &self.context.host.domus[name];
                let hypervisor = self.observer.hypervisor();
                if let Err(error) = hypervisor.and_then(|it| tune::give(it, domu)) {
                    warn(&error);
                }
            }
            given.insert(id);
        }
        self.given = given;
    }

    /// Says in the journal what is not as it should be, once.
    fn say_how_they_are(&mut self, decision: &Decision) {
        let mut said = BTreeMap::new();
        for (name, standing) in &decision.standings {
            let Some(reason) = &standing.reason else {
                continue;
            };
            // A reason that counts seconds is another each time.
            let line = format!("{name} is {}", standing.state);
            if self.said.get(name) != Some(&line) {
                eprintln!("domus-dom0: {line}: {reason}");
            }
            said.insert(name.clone(), line);
        }
        self.said = said;
    }

    fn done(&mut self, name: &Name, attempt: &Attempt) {
        self.crew.is_done(name);
        match attempt {
            Ok(Some(id)) => eprintln!("domus-dom0: {name} was started as domain {id}"),
            Ok(None) => {}
            Err(error) => {
                self.has_leftovers = true;
                eprintln!("domus-dom0: {name} was not started: {}", one_line(error));
            }
        }
    }

    /// Waits until something happened or is due.
    fn wait(&mut self, hear: &Receiver<News>, wake: Option<Moment>) -> Result<()> {
        let tick = match self.events.is_some() && self.ears.is_some() {
            true => TICK,
            false => DEAF,
        };
        let due = wake.map(|wake| Duration::from_secs(wake.saturating_sub(keep::now())));
        let until = Instant::now() + due.unwrap_or(tick).clamp(TOGETHER, tick);
        let mut until_quiet = until;
        while !interrupt::caught() {
            let left = until_quiet.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match hear.recv_timeout(left.min(SIGNAL)) {
                Ok(news) => {
                    let due = self.take(news);
                    until_quiet = until_quiet.min(due + TOGETHER);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(error).context("waiting for something to happen"),
            }
        }
        Ok(())
    }

    /// Takes note of what happened. Returns when that is worth a look.
    fn take(&mut self, news: News) -> Instant {
        let now = Instant::now();
        match news {
            News::Libvirt(Event::Ended(name, ending)) => {
                let how = match ending {
                    Ending::ShutDown => How::ShutDown,
                    Ending::Crashed | Ending::Other => How::Crashed,
                };
                self.endings.insert(name, (how, keep::now()));
            }
            News::Libvirt(Event::Closed) => {
                self.events = None;
                self.observer.disconnect();
            }
            News::Libvirt(Event::Changed(_)) | News::Store(Told::Domains) => {}
            News::Store(Told::Guest(id)) => {
                self.observer.forget(id);
                return self.heed.due(id, now);
            }
            News::Store(Told::Nothing) => self.ears = None,
            News::Done(name, attempt) => self.done(&name, &attempt),
        }
        now
    }
}
