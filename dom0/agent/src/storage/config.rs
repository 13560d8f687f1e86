// SPDX-License-Identifier: GPL-3.0-or-later
//! The partition for `/config` on the first disk: filled from the seed that the host booted from,
//! and in its place from then on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use domus_model::boot::{ConfigKind, ConfigSource};
use domus_model::fleet::LocalStorage;
use domus_model::storage::seed::{Deed, Part, Standing, decide};
use domus_model::storage::{self, Claim, Note};
use domus_system::mount::Bare;
use domus_system::storage::{self as system};

use super::MOUNTED;
use super::disks::Disks;
use crate::context::Context;
use crate::live;

/// Does what is to be done, and returns where `/config` is now if that is new.
pub(super) fn prepare(
    context: &Context,
    local: &LocalStorage,
    disks: &Disks<'_>,
    note: &mut Note,
) -> Result<Option<ConfigSource>> {
    let (Some(_), Some(source)) = (local.config, &context.config) else {
        return Ok(None);
    };
    let Some(first) = local.disks.first() else {
        return Ok(None);
    };
    // Why a disk is not ready is said by whoever looked at it.
    let Some((claim, parts)) = disks.ready(first) else {
        return Ok(None);
    };
    let place = parts.config.as_deref();
    let standing = place.map(|part| standing(context, source, claim, part));
    let place = place.zip(standing.transpose()?);
    let part = Part {
        disk: first.clone(),
        place: place.map(|(part, standing)| (part.display().to_string(), standing)),
    };
    let elsewhere = elsewhere(context, local, disks)?;
    match (decide(source, &part, &elsewhere), &parts.config) {
        (Deed::Hold, _) => note.holds.push("/config".to_owned()),
        (Deed::Leave(why), _) => note.remarks.push(why),
        (Deed::Refuse(why), _) => note.worse(storage::Standing::Degraded, why),
        (Deed::Fill, Some(part)) => {
            let config = fill(context, source, claim, part)
                .with_context(|| format!("setting {} up from the seed", part.display()))?;
            note.holds.push("/config".to_owned());
            note.remarks.extend(config.line());
            return Ok(Some(config));
        }
        (Deed::Fill, None) => {}
    }
    Ok(None)
}

/// What is on the partition. That on which `/config` is cannot be looked at twice.
fn standing(
    context: &Context,
    source: &ConfigSource,
    claim: &Claim,
    part: &Path,
) -> Result<Standing> {
    if source.device == part.display().to_string() {
        return Ok(Standing::Config);
    }
    let disk = system::device(&claim.disk).with_context(|| format!("{} is gone", claim.disk))?;
    let place = system::place(&disk, part, claim, &scratch(context))?;
    Ok(place.standing(claim))
}

/// Config partitions of this host beside the one of its first disk: those that the boot saw, and
/// those that came later.
fn elsewhere(context: &Context, local: &LocalStorage, disks: &Disks<'_>) -> Result<Vec<String>> {
    let looked_at = context.record["looked_at"].as_array();
    let fits = looked_at.into_iter().flatten().filter(|seen| {
        let is_seed = matches!(seen["content"].as_str(), Some("vfat" | "iso9660"));
        seen["fits"] == true && !is_seed
    });
    let devices = fits.filter_map(|seen| Some(format!("/dev/{}", seen["device"].as_str()?)));
    let mut found: Vec<String> = devices.collect();
    let Some(source) = &context.config else {
        return Ok(found);
    };
    for disk in local.disks.iter().skip(1) {
        let Some((claim, parts)) = disks.ready(disk) else {
            continue;
        };
        let Some(part) = &parts.config else { continue };
        if standing(context, source, claim, part)? == Standing::Config {
            found.push(part.display().to_string());
        }
    }
    Ok(found)
}

/// Fills the partition and mounts it in place of the seed.
fn fill(
    context: &Context,
    source: &ConfigSource,
    claim: &Claim,
    part: &Path,
) -> Result<ConfigSource> {
    let (seed, shown) = (&source.device, part.display());
    eprintln!("domus-dom0: setting {shown} up from the seed {seed}");
    let target = context.paths.at("/config");
    let disk = system::device(&claim.disk).with_context(|| format!("{} is gone", claim.disk))?;
    // Without what is mounted on it: trees of the commit, in RAM.
    let from = Bare::of(&target)?;
    system::fill(&disk, part, claim, &from.path(), &scratch(context))?;
    drop(from);
    system::config_mount(part).prepare()?.replace(&target)?;
    live::bind_config(context)?;
    Ok(ConfigSource {
        device: shown.to_string(),
        kind: ConfigKind::Partition,
        bound_by: source.bound_by.clone(),
        seed: Some(seed.clone()),
    })
}

/// Where such a partition is mounted while it is looked at or filled.
fn scratch(context: &Context) -> PathBuf {
    context.paths.at(MOUNTED).join("config")
}
