// SPDX-License-Identifier: GPL-3.0-or-later
//! From documents without problems to what they describe, every default filled in.

mod domu;
mod host;
mod layers;
mod network;
mod recipe;

pub(crate) use host::host;
pub(crate) use layers::{Layers, layers};
pub(crate) use network::{listed, nets_with_nat, others, target};

use crate::documents::{
    At, ConfigDoc, DomUSettings, FleetDoc, HostSettings, LockDoc, Shared, VarsDoc,
};
use crate::fleet::{Config, Debian, DomU, Fleet, Follow, Group, Release, Vars};
use crate::units::{Interval, Size};
use std::collections::BTreeMap;

/// The Debian suite of a fleet that names none.
const SUITE: &str = "trixie";

/// The version of the release of a fleet that names none.
const RELEASE_VERSION: &str = "1";

/// How often they look then.
const EVERY: Interval = Interval::from_minutes(5);

/// How long a new generation may take then until the host is healthy.
const DEADLINE: Interval = Interval::from_minutes(10);

/// What a host has for dom0 that does not say so, if the release allows so much.
const DOM0_MEMORY: Size = Size::from_mib(512);

/// What Xen gives dom0 at boot where the fleet does not say so.
const DOM0_CEILING: Size = Size::from_mib(1024);

/// The fleet of these documents, without its hosts; `None` if one of them lacks what it must have.
pub(crate) fn fleet(shared: &Shared<'_>) -> Option<Fleet> {
    let doc = shared.fleet()?;
    let images = shared.images.values().map(recipe::recipe);
    let groups = doc.groups.iter().map(|(name, group)| {
        let spare = value(&group.spare).unwrap_or(0);
        (name.value.clone(), Group { spare })
    });
    Some(Fleet {
        name: value(&doc.name)?,
        release: release(doc),
        debian: debian(doc),
        config: config(&doc.config),
        operators: values(&doc.operators),
        groups: groups.collect(),
        hosts: BTreeMap::new(),
        images: images
            .map(|image| image.map(|image| (image.name.clone(), image)))
            .collect::<Option<_>>()?,
        lists: shared.lists.clone(),
        locked: shared.lock.as_ref().map(LockDoc::lock).unwrap_or_default(),
    })
}

fn config(doc: &ConfigDoc) -> Option<Config> {
    Some(Config {
        remote: value(&doc.remote)?,
        follow: value(&doc.follow).map_or(Follow::Targets, Follow::Branch),
        every: value(&doc.every).unwrap_or(EVERY),
        host_key: value(&doc.host_key),
        apply: value(&doc.apply).unwrap_or_default(),
    })
}

fn release(doc: &FleetDoc) -> Release {
    Release {
        version: release_version(doc),
        dom0_memory: dom0_ceiling(doc),
        least_serial: value(&doc.release.least_serial).unwrap_or(0),
        rescue_password: value(&doc.release.rescue_password),
        hvm: runs_hvm(doc),
        packages: values(&doc.release.packages),
    }
}

fn debian(doc: &FleetDoc) -> Debian {
    Debian {
        suite: value(&doc.debian.suite).unwrap_or_else(|| SUITE.to_owned()),
        mirror: value(&doc.debian.mirror),
        components: values(&doc.debian.components),
    }
}

/// The version of the fleet's release.
pub(crate) fn release_version(doc: &FleetDoc) -> String {
    let version = value(&doc.release.version);
    version.unwrap_or_else(|| RELEASE_VERSION.to_owned())
}

/// Whether the fleet's release runs domUs of kind hvm.
pub(crate) fn runs_hvm(doc: &FleetDoc) -> bool {
    value(&doc.release.hvm).unwrap_or(false)
}

/// The version of the release that a host boots.
pub(crate) fn host_release(host: &HostSettings, doc: &FleetDoc) -> String {
    value(&host.release).unwrap_or_else(|| release_version(doc))
}

/// What Xen gives dom0 at boot.
pub(crate) fn dom0_ceiling(doc: &FleetDoc) -> Size {
    value(&doc.release.dom0_memory).unwrap_or(DOM0_CEILING)
}

/// What a host leaves dom0.
pub(crate) fn dom0_memory(host: &HostSettings, doc: &FleetDoc) -> Size {
    let written = host.dom0.as_ref().and_then(|dom0| value(&dom0.memory));
    written.unwrap_or(DOM0_MEMORY.min(dom0_ceiling(doc)))
}

/// The memory that a domU has.
pub(crate) fn domu_memory(domu: &DomUSettings) -> Size {
    value(&domu.memory).unwrap_or(DomU::MEMORY)
}

/// The virtual CPUs that a domU has.
pub(crate) fn domu_vcpus(domu: &DomUSettings) -> u32 {
    value(&domu.vcpus).unwrap_or(1)
}

fn value<T: Clone>(written: &Option<At<T>>) -> Option<T> {
    written.as_ref().map(|written| written.value.clone())
}

fn values<T: Clone>(written: &[At<T>]) -> Vec<T> {
    written
        .iter()
        .map(|written| written.value.clone())
        .collect()
}

/// Variables of several documents, the most general first.
fn vars<'d>(documents: impl IntoIterator<Item = &'d VarsDoc>) -> Vars {
    let all = documents.into_iter().flatten();
    all.map(|(name, var)| (name.clone(), var.value.clone()))
        .collect()
}
