// SPDX-License-Identifier: GPL-3.0-or-later
//! How the domUs of this host are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use domus_model::boot::{ConfigSource, StatementNote, Verified};
use domus_model::changes::Changes;
use domus_model::names::Name;
use domus_model::reconcile::{Sight, Standing, Stray, decide};
use domus_model::status::{DomuStatus, render, short};
use domus_model::storage::Note;
use domus_model::storage::health::{self as disk_health, DiskStatus};
use domus_model::verity::{Integrity, ROOT_DEVICE};
use domus_model::volumes::orphans_line;
use domus_system::systemd::{self, BOOTED, CLOCK_SYNCHRONISED};
use domus_system::verity;
use serde::Serialize;

use crate::context::Context;
use crate::health;
use crate::keep::{self, Endings, Remember};
use crate::live;
use crate::lookout::Lookout;
use crate::observe::{Domains, Observer};
use crate::pace;
use crate::pull::Last;
use crate::slots::Slots;
use crate::steps::{differences, refresh_line, waiting_line};
use crate::storage;
use crate::strays;
use crate::volume;
use crate::warn;

/// How often domUs are looked at while somebody waits.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// What a root that is not as it was built means.
const DAMAGED: &str = "part of the root image is not as it was built: its medium is damaged, or \
    somebody altered it. What reads that part gets I/O errors; boot from a medium that is whole";

/// This host and its domUs.
#[derive(Debug, Serialize)]
pub(crate) struct HostStatus {
    host: Name,
    commit: String,
    /// Who says that it shall be run.
    statement: StatementNote,
    /// What new commits are looked for in: `targets` or a branch.
    follows: Option<String>,
    release: Option<String>,
    /// Who verified that release when it booted.
    verified: Verified,
    /// Whether all that was read of its root is as it was built; none if nothing proves it.
    root: Option<Integrity>,
    /// Whether a time server set the clock since the boot.
    clock_synchronised: bool,
    /// Which slot of its medium it runs from; none if that has none.
    slots: Option<Slots>,
    domus: Vec<DomuStatus>,
    #[serde(serialize_with = "strays::as_names")]
    strays: Vec<Stray>,
    /// Volumes that no domU has.
    orphans: Vec<String>,
    /// The release that the commit wants of this host, if it is another.
    wanted_release: Option<String>,
    /// The commit that was booted, if it is another.
    booted: Option<String>,
    /// The commit that is booted next, if it is another.
    next: Option<String>,
    /// Why no new commit could be taken last time.
    pull_failure: Option<String>,
    /// How what runs stands, or what was left for it, where there is something to say.
    standing: Option<String>,
    /// What `/config` is on.
    config: Option<ConfigSource>,
    /// How its local disks are, if it shall have any.
    storage: Option<Note>,
    /// How all disks of the machine are, by their own words.
    disks: Vec<DiskStatus>,
    /// What of `/etc` could not be done.
    problems: Vec<String>,
    /// What was to be run in dom0 and failed.
    failures: Vec<String>,
    /// systemd's units that failed.
    failed_units: Vec<String>,
    /// domUs that should be restarted.
    waiting: BTreeSet<Name>,
    /// domUs that run and have an older configuration than they could have.
    refresh: BTreeSet<Name>,
    /// What waits until the host boots.
    reboot: Vec<String>,
}

impl HostStatus {
    /// Looks once; or, with `wait`, until every domU is up, failed or stopped by hand, so long at
    /// most.
    ///
    /// # Errors
    /// libvirt does not answer, in all that time.
    pub(crate) fn find(context: &Context, wait: Option<Duration>) -> Result<Self> {
        let (mut observer, mut lookout) = (Observer::new(context), Lookout::new());
        let begin = Instant::now();
        // XenStore is asked while it is waited: libvirt costs many times more, and would slow down
        // what is being waited for.
        let left = || wait.unwrap_or_default().saturating_sub(begin.elapsed());
        while !left().is_zero() {
            let look = Instant::now();
            if are_settled(context, &mut observer, &mut lookout) {
                break;
            }
            lookout.rest(context, &mut observer, look, left());
        }
        loop {
            let look = Instant::now();
            match observer.running() {
                Err(_) if !left().is_zero() => pace::rest(look, LOOK, left()),
                running => break drop(running?),
            }
        }
        Self::new(context, &mut observer)
    }

    fn new(context: &Context, observer: &mut Observer) -> Result<Self> {
        // Without XenStore those that libvirt knows are all that can be seen.
        let domains = match observer.domains() {
            Ok(domains) => domains,
            Err(error) => {
                warn(&error);
                Domains::known(observer.running()?)
            }
        };
        let domus = domus(context, observer, &domains)?;
        let left = differences(context, context, observer, &domains, false);
        let left = left.unwrap_or_else(|error| {
            warn(&error.context("comparing what runs with what is wanted"));
            Changes::default()
        });
        let strays = strays::find(context, observer, &domains);
        let failed = context.taken.iter().flat_map(|taken| &taken.left);
        Ok(Self {
            host: context.host.name.clone(),
            commit: context.commit.clone(),
            statement: context.statement.clone(),
            follows: context
                .wanted
                .config
                .as_ref()
                .map(|it| it.follow.to_string()),
            release: context.release.clone(),
            verified: context.verified,
            root: root(context),
            clock_synchronised: context.paths.at(CLOCK_SYNCHRONISED).exists(),
            slots: Slots::find(context),
            domus,
            strays,
            orphans: volume::orphans_of(context),
            wanted_release: context.other_release(),
            booted: Some(&context.booted)
                .filter(|booted| **booted != context.commit)
                .cloned(),
            next: live::booted_next(context).ok().flatten(),
            pull_failure: Last::read(context).error,
            standing: health::standing_line(context),
            config: context.config.clone(),
            storage: storage::status(context),
            disks: storage::health::disks(context),
            problems: context.problems.clone(),
            failures: failed.map(ToString::to_string).collect(),
            failed_units: failed_units(context),
            waiting: left.restarts(),
            refresh: left.refreshes(),
            reboot: left.waits().map(|step| step.what.clone()).collect(),
        })
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let release = self.release.as_deref().unwrap_or("unknown");
        let (host, commit) = (&self.host, short(&self.commit));
        let follows = match self.follows.as_deref() {
            None => String::new(),
            Some("targets") => "   follows targets".to_owned(),
            Some(branch) => format!("   follows {branch} as it comes"),
        };
        let statement = &self.statement;
        let domus = match self.domus.is_empty() {
            true => "no domUs\n".to_owned(),
            false => render(&self.domus),
        };
        let strays = strays::lines(&self.strays);
        let orphans = orphans_line(&self.orphans);
        let mut text = format!(
            "{host}   release {release}   commit {commit}   {statement}{follows}\n\
             boot {}   root {}   clock {}{}\n\n\
             {domus}{strays}{orphans}{}",
            self.verified.word(),
            self.root.map_or("unverified", Integrity::word),
            match self.clock_synchronised {
                true => "synchronised",
                false => "not synchronised",
            },
            self.slots
                .as_ref()
                .map_or(String::new(), |it| format!("   {}", it.word())),
            waiting_line(&self.waiting)
        );
        text += &refresh_line(&self.refresh);
        if !self.disks.is_empty() {
            text += &format!("\n{}\n", disk_health::render(&self.disks));
        }
        let mut say = |line: String| text += &format!("{host}: {line}\n");
        if self.root == Some(Integrity::Corrupted) {
            say(DAMAGED.to_owned());
        }
        if let Some(line) = self.config.as_ref().and_then(ConfigSource::line) {
            say(line);
        }
        if let Some(storage) = &self.storage {
            say(storage.line());
        }
        if let Some(booted) = &self.booted {
            say(format!("{} was booted", short(booted)));
        }
        if let Some(other) = &self.wanted_release {
            say(match &self.slots {
                Some(_) => format!("wants release {other}, runs {release}: `domus-dom0 upgrade`"),
                None => format!("release {other} is wanted; boot its medium"),
            });
        }
        for line in self.slots.iter().flat_map(Slots::lines) {
            say(line);
        }
        if let Some(standing) = &self.standing {
            say(standing.clone());
        }
        if let Some(next) = &self.next {
            let next = short(next);
            say(format!(
                "{next} is booted next; `domus-dom0 apply` takes it before that"
            ));
        }
        if let Some(reason) = &self.pull_failure {
            say(format!("no new commit was taken: {reason}"));
        }
        for command in &self.failures {
            say(format!(
                "`{command}` failed; `domus-dom0 apply` runs it again"
            ));
        }
        for unit in &self.failed_units {
            say(format!("{unit} failed; `journalctl -b -u {unit}` says why"));
        }
        for what in &self.reboot {
            say(format!("waits for a reboot: {what}"));
        }
        self.problems.iter().cloned().for_each(say);
        text
    }
}

/// How the root is now: the kernel knows, where the boot found something that proves it.
fn root(context: &Context) -> Option<Integrity> {
    context.root?;
    let integrity = verity::integrity(ROOT_DEVICE);
    integrity.map_err(|error| warn(&error)).ok()
}

fn failed_units(context: &Context) -> Vec<String> {
    if !context.paths.at(BOOTED).exists() {
        return Vec::new();
    }
    systemd::failed_units().unwrap_or_else(|error| {
        warn(&error);
        Vec::new()
    })
}

/// How every domU that should run is, given the domains that do.
pub(crate) fn domus(
    context: &Context,
    observer: &mut Observer,
    domains: &Domains,
) -> Result<Vec<DomuStatus>> {
    let known = keep::known(context, observer, domains, &Endings::new(), Remember::No)?;
    let mut decision = decide(&context.host.domus, &known, None, keep::now());
    let mut all = Vec::new();
    for (name, domu) in &context.host.domus {
        let standing = decision.standings.remove(name);
        let standing = standing.unwrap_or_else(Standing::stopped);
        let domain = match known.get(name).map(|known| &known.sight) {
            Some(Sight::Runs { id, .. }) => Some(*id),
            _ => None,
        };
        let report = domain.and_then(|id| observer.report(id).ok().flatten());
        all.push(DomuStatus::new(domu, standing, domain, report));
    }
    Ok(all)
}

/// Whether nothing will change without somebody's doing, as far as XenStore says that; without it
/// libvirt is asked.
pub(crate) fn are_settled(
    context: &Context,
    observer: &mut Observer,
    lookout: &mut Lookout,
) -> bool {
    let running = lookout.domains(context, observer);
    let running = running.or_else(|_| observer.running());
    running.is_ok_and(|running| {
        let domus = domus(context, observer, &Domains::known(running));
        domus.is_ok_and(|domus| domus.iter().all(|domu| domu.state.is_settled()))
    })
}
