// SPDX-License-Identifier: GPL-3.0-or-later
//! Doing with disks what was decided about them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use domus_model::fleet::LocalStorage;
use domus_model::storage::{
    Claim, ClaimState, Look, Note, Plan, Seen, Standing, Step, decide, set_of,
};
use domus_system::program::Program;
use domus_system::storage::{self, Parts, mirror};
use uuid::Uuid;

use crate::context::Context;
use crate::notes::one_line;
use crate::warn;

/// How long disks are waited for that are not there.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);
/// What a mirror is that nobody said more about.
pub(super) const HALF: &str = "the mirror has one half only: the other failed, or is out of date; \
    exchange it, or name all that is on it in `erase` to take it in anew";

/// The disks of a host.
pub(super) struct Disks<'c> {
    context: &'c Context,
    local: &'c LocalStorage,
    set: Uuid,
    /// What is written on them.
    claims: BTreeMap<String, Claim>,
    /// The partitions of those that are prepared.
    parts: BTreeMap<String, Parts>,
    /// What the volume group is on.
    device: Option<PathBuf>,
}

impl<'c> Disks<'c> {
    pub(super) fn new(context: &'c Context, local: &'c LocalStorage) -> Self {
        Self {
            set: set_of(&context.fleet, &context.host.name),
            context,
            local,
            claims: BTreeMap::new(),
            parts: BTreeMap::new(),
            device: None,
        }
    }

    /// A disk that is ready: its claim and its partitions.
    pub(super) fn ready(&self, disk: &str) -> Option<(&Claim, &Parts)> {
        let claim = self.claims.get(disk)?;
        let is_ready = claim.state == ClaimState::Ready;
        Some((claim, self.parts.get(disk)?)).filter(|_| is_ready)
    }

    /// Does what is to be done, and returns what the volume group is on if there is one.
    pub(super) fn prepare(&mut self, note: &mut Note) -> Option<PathBuf> {
        self.wait();
        let seen = self.look();
        let plan = decide(self.local, self.set, &seen);
        note.standing = plan.standing;
        note.reasons.clone_from(&plan.reasons);
        if !plan.is_usable() {
            return None;
        }
        // What is usable and not as it should be is half a mirror.
        note.half = plan.reasons.first().cloned();
        let done = self
            .find(&seen, &plan)
            .and_then(|()| self.perform(&plan.steps));
        if let Err(error) = done {
            // A mirror that runs is of use whatever became of the other half.
            let standing = match self.device {
                Some(_) if !plan.steps.contains(&Step::Group) => Standing::Degraded,
                _ => Standing::Refused,
            };
            if standing == Standing::Refused {
                note.worse(standing, one_line(&error));
                return None;
            }
            note.halved(one_line(&error));
        }
        let state = mirror::state(&self.context.paths.at("/")).filter(|_| self.local.mirror);
        if let Some(state) = state
            && state.missing > 0
            && state.doing.is_none()
            && note.reasons.is_empty()
        {
            note.halved(HALF);
        }
        self.device.clone()
    }

    fn wait(&self) {
        // What udev still does with disks it may do to the end.
        if let Err(error) = Program::new("udevadm")
            .args(["settle", "--timeout=30"])
            .run()
        {
            warn(&error);
        }
        let begin = Instant::now();
        let is_missing = |name: &String| storage::device(name).is_none();
        while self.local.disks.iter().any(is_missing) && begin.elapsed() < PATIENCE {
            sleep(LOOK);
        }
    }

    fn look(&self) -> Vec<Seen> {
        let mut known: Vec<(PathBuf, &str)> = Vec::new();
        let mut seen = Vec::new();
        for name in &self.local.disks {
            let device = storage::device(name);
            let twin = known
                .iter()
                .find(|(other, _)| Some(other) == device.as_ref());
            let look = match twin {
                Some((_, other)) => Look::Unreadable(format!("it is the same disk as {other}")),
                None => self.look_at(name),
            };
            known.extend(device.map(|device| (device, name.as_str())));
            let name = name.clone();
            seen.push(Seen { name, look });
        }
        seen
    }

    fn look_at(&self, name: &str) -> Look {
        let look = storage::look(name);
        let Look::Disk(disk) = &look else { return look };
        let members = disk.found.iter().filter(|found| {
            let may_go = found.id.as_ref().is_some_and(|id| self.local.erases(id));
            may_go && found.what == "LVM2_member"
        });
        let members: Vec<PathBuf> = members.map(|found| (&found.device).into()).collect();
        if !disk.in_use || members.is_empty() {
            return look;
        }
        // LVM starts the groups that it finds.
        for member in members {
            if let Err(error) = storage::stop_group(&member) {
                warn(&error);
            }
        }
        storage::look(name)
    }

    /// Finds the partitions of disks that are in use.
    fn find(&mut self, seen: &[Seen], plan: &Plan) -> Result<()> {
        let is_laid = |name: &String| {
            let mut steps = plan.steps.iter();
            steps.any(|step| matches!(step, Step::Lay { disk, .. } if disk == name))
        };
        let is_left_out = |name: &String| {
            let mut steps = plan.steps.iter();
            steps.any(|step| matches!(step, Step::Assemble(disks) if !disks.contains(name)))
        };
        for Seen { name, look } in seen {
            let Look::Disk(disk) = look else { continue };
            let Some(claim) = &disk.claim else { continue };
            if is_laid(name) || is_left_out(name) {
                continue;
            }
            let device = storage::device(name).with_context(|| format!("{name} is gone"))?;
            let parts = storage::parts_of(&device, claim)?;
            self.take(claim.clone(), parts);
        }
        Ok(())
    }

    fn take(&mut self, claim: Claim, parts: Parts) {
        if !self.local.mirror {
            self.device = Some(parts.kept.clone());
        }
        self.parts.insert(claim.disk.clone(), parts);
        self.claims.insert(claim.disk.clone(), claim);
    }

    fn perform(&mut self, steps: &[Step]) -> Result<()> {
        let birth = storage::new_id()?;
        for step in steps {
            self.step(step, birth)
                .with_context(|| format!("`{step}`"))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, birth: Uuid) -> Result<()> {
        match step {
            Step::Lay {
                disk,
                joins,
                config,
            } => {
                let claim = Claim {
                    set: self.set,
                    fleet: self.context.fleet.clone(),
                    host: self.context.host.name.clone(),
                    disk: disk.clone(),
                    birth: joins.unwrap_or(birth),
                    mirror: self.local.mirror,
                    state: ClaimState::Preparing,
                };
                let device = storage::device(disk).context("it is gone")?;
                let scratch = self.context.paths.ram().join("repart.d");
                let parts = storage::lay(&device, &claim, *config, &scratch)?;
                self.take(claim, parts);
            }
            Step::Mirror(disks) => {
                let parts = self.parts_of(disks)?;
                self.device = Some(mirror::create(birth, &parts)?);
            }
            Step::Assemble(disks) => {
                let claim = disks.first().and_then(|disk| self.claims.get(disk));
                let birth = claim.context("nothing is known of it")?.birth;
                let parts = self.parts_of(disks)?;
                self.device = Some(mirror::assemble(birth, &parts)?);
            }
            Step::Join(disk) => {
                let parts = self.parts_of(std::slice::from_ref(disk))?;
                let mirror = self.device.as_ref().context("the mirror does not run")?;
                mirror::join(mirror, &parts[0])?;
            }
            Step::Group => {
                let device = self
                    .device
                    .as_ref()
                    .context("there is nothing to make it on")?;
                storage::make_group(&self.local.volume_group, device)?;
            }
            Step::Settle(disk) => {
                let claim = self
                    .claims
                    .get_mut(disk)
                    .context("nothing is known of it")?;
                claim.state = ClaimState::Ready;
                let device = storage::device(disk).context("it is gone")?;
                storage::settle(&device, claim)?;
            }
        }
        Ok(())
    }

    fn parts_of(&self, disks: &[String]) -> Result<Vec<PathBuf>> {
        let part = |disk: &String| Some(self.parts.get(disk)?.kept.clone());
        let parts = disks.iter().map(part).collect::<Option<Vec<_>>>();
        parts.context("a disk has no partition")
    }
}
