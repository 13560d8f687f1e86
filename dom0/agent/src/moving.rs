// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 depart` and `arrive`: a domU leaves this host for another, or comes to it. What is
//! remembered of that is on the config partition before anybody hears of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result, bail};
use domus_model::fleet::DomU;
use domus_model::moving::{Arrival, Away, Departed, Mark};
use domus_model::names::Name;
use domus_model::volumes::Kind;
use domus_system::{atomic, interrupt};

use crate::Refused;
use crate::applied::Applied;
use crate::apply::{apply, release_loops};
use crate::context::Context;
use crate::lock::Lock;
use crate::notes::{Notes, one_line};
use crate::observe::Observer;
use crate::paths::Paths;
use crate::steps::Wish;
use crate::stop::{How, Patience, end_wave};
use crate::volume::{Look, runs};

/// Why `domu` is not to be started here, if it is elsewhere.
pub(crate) fn away(paths: &Paths, domu: &DomU) -> Option<Away> {
    match read(paths, &domu.name) {
        Ok(mark) => Away::of(domu, mark.as_ref()),
        Err(error) => Some(Away::Unknown(one_line(&error))),
    }
}

fn read(paths: &Paths, name: &Name) -> Result<Option<Mark>> {
    let path = paths.mark(name);
    let doing = || {
        let path = path.display();
        format!("reading {path}, which says whether {name} left this host")
    };
    match fs::read(&path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(doing)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(doing),
    }
}

fn write(paths: &Paths, name: &Name, mark: &Mark) -> Result<()> {
    let path = paths.mark(name);
    let dir = path.parent().context("no directory")?;
    if !dir.is_dir() {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let parent = dir.parent().context("no directory")?;
        atomic::sync_dir(parent)?;
    }
    atomic::write(&path, &serde_json::to_vec(mark)?, 0o644)
}

/// Shuts `name` down for good, because it goes to the host `to`. Done twice, it says the same.
///
/// # Errors
/// It goes nowhere, or still runs: then it is still this host's.
pub(crate) fn depart(
    context: &Context,
    name: &Name,
    to: &Name,
    patience: Patience,
) -> Result<Departed> {
    interrupt::catch().context("catching signals")?;
    let host = &context.host.name;
    if host == to {
        bail!(Refused(format!("{name} cannot leave {host} for {host}")));
    }
    let mut observer = Observer::new(context);
    {
        // Whoever is starting it shall be done, and nobody shall begin to.
        let _lock = Lock::take(&context.paths)?;
        if context.host.domus.contains_key(name) {
            Notes::on(&context.paths, name).hold()?;
        }
    }
    let wave = std::slice::from_ref(name);
    for ended in end_wave(&mut observer, &context.host.domus, wave, patience)? {
        if let How::Stays(why) = ended.how {
            bail!(
                "{name} still runs on {host} ({why}), so it did not leave: `domus-dom0 depart --force` \
                 destroys it, `domus-dom0 start {name}` keeps it here"
            );
        }
    }
    let _lock = Lock::take(&context.paths)?;
    if runs(&mut observer, name)? {
        bail!("{name} runs on {host}: somebody started it just now; it did not leave");
    }
    write(&context.paths, name, &Mark::Left { to: to.clone() })?;
    Notes::on(&context.paths, name).forget()?;
    release_loops(context, &mut observer);
    let look = Look::new(context, &mut observer)?;
    let volumes = look.volumes.iter().filter(|it| {
        let is_of_it = it.domu.as_ref() == Some(name) && it.snapshot_of.is_none();
        is_of_it && it.kind != Kind::Device && it.size.is_some()
    });
    let volumes: BTreeSet<Name> = volumes.filter_map(|it| it.disk.clone()).collect();
    Ok(Departed {
        domu: name.clone(),
        host: host.clone(),
        to: to.clone(),
        volumes: volumes.into_iter().collect(),
    })
}

/// Takes `name` as come from the host `from`, and starts it. `empty`: with volumes that are not
/// here, and are made anew.
///
/// # Errors
/// Its document does not say so, or its volumes are not here (refused).
pub(crate) fn arrive(context: &Context, name: &Name, from: &Name, empty: bool) -> Result<Applied> {
    {
        let _lock = Lock::take(&context.paths)?;
        let context = &context.again()?;
        let domu = context.domu(name)?;
        may_come(context, domu, from)?;
        if !empty {
            has_its_volumes(context, domu)?;
        }
        write(&context.paths, name, &Mark::Arrived { from: from.clone() })?;
    }
    let names = vec![name.clone()];
    apply(
        context,
        &Wish {
            names,
            ..Wish::default()
        },
        false,
    )
}

/// Whether `name` came from the host `from`.
///
/// # Errors
/// As [`arrive`], but for volumes.
pub(crate) fn ask(context: &Context, name: &Name, from: &Name) -> Result<Arrival> {
    let domu = context.domu(name)?;
    let mark = read(&context.paths, name)?;
    let came = mark.as_ref() == Some(&Mark::Arrived { from: from.clone() });
    if !came {
        may_come(context, domu, from)?;
    }
    Ok(Arrival {
        domu: name.clone(),
        host: context.host.name.clone(),
        from: from.clone(),
        arrived: came,
    })
}

fn may_come(context: &Context, domu: &DomU, from: &Name) -> Result<()> {
    let (name, host) = (&domu.name, &context.host.name);
    if let Some(wanted) = &domu.moved_from {
        if wanted != from {
            let refusal = format!("by its document {name} comes from {wanted}, not from {from}");
            bail!(Refused(refusal));
        }
        return Ok(());
    }
    // It may come back without any commit that said so: the operator answers for it.
    match read(&context.paths, name)? {
        Some(Mark::Left { to }) if to == *from => Ok(()),
        Some(Mark::Left { to }) => bail!(Refused(format!(
            "{name} left {host} for {to}, and cannot come from {from}"
        ))),
        Some(Mark::Arrived { .. }) | None => bail!(Refused(format!(
            "{name} is here already: {host} has no commit by which it comes from {from}"
        ))),
    }
}

fn has_its_volumes(context: &Context, domu: &DomU) -> Result<()> {
    let look = Look::new(context, &mut Observer::new(context))?;
    let is_there = |volume: &str| {
        let found = look.volumes.iter().find(|it| it.name == volume);
        found.is_some_and(|it| it.size.is_some())
    };
    let disks = domu.disks.iter();
    let missing = disks.filter(|disk| disk.kept().is_some_and(|volume| !is_there(volume)));
    let missing: Vec<&str> = missing.map(|disk| disk.name.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let name = &domu.name;
    bail!(Refused(format!(
        "{name} has not come: {} is not here. `domus move {name}` brings it; with --empty it starts \
         with an empty one",
        missing.join(", ")
    )))
}
