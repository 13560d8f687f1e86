// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 volume`: what an operator does with volumes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use domus_model::date::day;
use domus_model::fleet::VolumePool;
use domus_model::names::Name;
use domus_model::volumes::{DiskOf, INCOMING, Kind, REPLACED, Volume};

use super::claim::Claim;
use super::look::Look;
use super::{backup, file, lvm};
use crate::Refused;
use crate::apply::release_loops;
use crate::args::volume::Verb;
use crate::context::Context;
use crate::lock::Lock;
use crate::notes::Notes;
use crate::observe::Observer;

/// Does it. Returns what there is to show.
pub(crate) fn run(context: &Context, verb: &Verb) -> Result<String> {
    match verb {
        Verb::List { json } => {
            let look = Look::new(context, &mut Observer::new(context))?;
            if *json {
                look.json()
            } else {
                Ok(look.render())
            }
        }
        Verb::Destroy { names, declared } => destroy(context, names, *declared),
        Verb::Snapshot { disk, name } => snapshot(context, disk, name.as_ref()),
        Verb::Backup { disk, to } => {
            backup::backup(context, disk, to.as_deref()).map(|()| String::new())
        }
        Verb::Restore {
            disk,
            from,
            of_another,
        } => {
            let from = from.as_deref();
            backup::restore(context, disk, from, *of_another).map(|()| String::new())
        }
    }
}

/// Destroys volumes, all or none of which may be.
fn destroy(context: &Context, names: &[String], declared: bool) -> Result<String> {
    let mut observer = Observer::new(context);
    // Nobody starts a domU meanwhile, who would make it anew.
    let _lock = Lock::take(&context.paths)?;
    let context = &context.again()?;
    release_loops(context, &mut observer);
    let look = Look::new(context, &mut observer)?;
    let volumes = names.iter().map(|name| look.named(name));
    let volumes = volumes.collect::<Result<Vec<&Volume>>>()?;
    let mut claims = Vec::new();
    for volume in &volumes {
        let is_held = |domu: &Name| Notes::on(&context.paths, domu).is_held();
        let is_held = volume.domu.as_ref().is_some_and(is_held);
        if let Some(why) = volume.refuses_to_go(&look.volumes, declared, is_held) {
            bail!(Refused(why + "; nothing was destroyed"));
        }
        let claim = Claim::alone(&context.paths, &volume.name)?;
        let copied = || format!("{} is being copied; nothing was destroyed", volume.name);
        claims.push(claim.with_context(copied)?);
    }
    for volume in volumes {
        let name = &volume.name;
        let doing = || format!("destroying {name}");
        match &context.host.storage.domus {
            VolumePool::Directory(dir) => file::remove(&context.paths.at(dir), name),
            VolumePool::VolumeGroup(group) if volume.snapshot_of.is_some() => {
                lvm::remove_snapshot(group, name)
            }
            VolumePool::VolumeGroup(group) => lvm::remove(group, name),
        }
        .with_context(doing)?;
        println!("{name}   destroyed");
    }
    Ok(String::new())
}

/// Keeps what a volume holds now, under another name.
fn snapshot(context: &Context, disk: &DiskOf, name: Option<&Name>) -> Result<String> {
    let mut observer = Observer::new(context);
    let _lock = Lock::take(&context.paths)?;
    let look = Look::new(context, &mut observer)?;
    let (volume, _) = look.of(disk)?;
    let VolumePool::VolumeGroup(group) = &context.host.storage.domus else {
        bail!(Refused(format!(
            "{} is a {}, which has no snapshots: `volume-group` in [storage.domUs] keeps volumes in \
             LVM; `domus-dom0 volume backup {disk}` copies it while {} is stopped",
            volume.name,
            match volume.kind {
                Kind::Device => "device",
                Kind::File | Kind::Lvm => "file",
            },
            disk.domu
        )));
    };
    if volume.kind == Kind::Device {
        let path = &volume.name;
        bail!(Refused(format!(
            "{disk} is the device {path}, of which Domus makes no snapshots"
        )));
    }
    ensure!(
        volume.size.is_some(),
        "{} is not there: it has no data",
        volume.name
    );
    let today = || day(now_in_seconds());
    let name = name.map_or_else(today, Name::to_string);
    let snapshot = format!("{}.{name}", volume.name);
    let is_kept = [INCOMING, REPLACED, lvm::COPIED]
        .iter()
        .any(|end| snapshot.ends_with(end));
    ensure!(
        !is_kept,
        "a snapshot cannot be called {name}: Domus makes those itself"
    );
    let is_there = look.volumes.iter().any(|it| it.name == snapshot);
    ensure!(
        !is_there,
        "{snapshot} is there: --name gives it another name"
    );
    lvm::snapshot(group, &volume.name, &snapshot)?;
    Ok(format!("{snapshot}   made\n"))
}

/// By the host's clock: it is only a name.
fn now_in_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().cast_signed())
}
