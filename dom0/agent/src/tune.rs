// SPDX-License-Identifier: GPL-3.0-or-later
//! What a domU that runs gets without a restart: memory, virtual CPUs, its share of the host's, and
//! volumes that grow. All of it may be done again and again. And what dom0 gets of the CPUs.

use anyhow::{Context as _, Result};
use domus_model::changes::Given;
use domus_model::fleet::{Dom0, DomU};
use domus_model::tune::{Tune, dom0_tunes, tunes};
use domus_virt::Hypervisor;

use crate::context::Context;
use crate::steps::Steps;
use crate::{volume, warn};

/// What libvirt calls dom0.
const DOM0: &str = "Domain-0";

/// Gives those that go on what they have to get. What cannot be given is said, and holds up nobody.
pub(crate) fn all(context: &Context, hypervisor: &Hypervisor, steps: &Steps) {
    let tuned = steps.changes.tuned();
    for name in steps.plan.keep.iter().filter(|name| tuned.contains(*name)) {
        let Some(domu) = context.host.domus.get(name) else {
            continue;
        };
        for result in [grow(context, domu), give(hypervisor, domu)] {
            if let Err(error) = result {
                warn(&error);
            }
        }
    }
}

/// Gives the domU, which runs, what no XML says or what has changed since it started.
pub(crate) fn give(hypervisor: &Hypervisor, domu: &DomU) -> Result<()> {
    tune(hypervisor, domu.name.as_str(), |given| tunes(given, domu))
}

/// Gives dom0 its share of the CPUs. libvirt's test driver has no dom0.
pub(crate) fn give_dom0(hypervisor: &Hypervisor, dom0: &Dom0) -> Result<()> {
    tune(hypervisor, DOM0, |given| dom0_tunes(given, dom0))
}

/// Gives the domain `name`, if it is there, what `tunes` finds that it lacks.
fn tune(
    hypervisor: &Hypervisor,
    name: &str,
    tunes: impl FnOnce(&Given) -> Vec<Tune>,
) -> Result<()> {
    let Some(given) = hypervisor.given(name)? else {
        return Ok(());
    };
    let mut tunes = tunes(&given).into_iter();
    tunes.try_for_each(|tune| hypervisor.tune(name, &tune))
}

/// Lets its volumes grow. Its kernel sees that by itself: blkback compares sizes.
fn grow(context: &Context, domu: &DomU) -> Result<()> {
    let pool = &context.host.storage.domus;
    for disk in &domu.disks {
        volume::grow(&context.paths, pool, disk)
            .with_context(|| format!("growing the disk {} of {}", disk.name, domu.name))?;
    }
    Ok(())
}
