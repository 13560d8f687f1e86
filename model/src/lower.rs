//! From documents without problems to the `Fleet`, every default filled in.
// SPDX-License-Identifier: GPL-3.0-or-later

mod host;
mod recipe;

use crate::documents::{At, Defaults, Documents, Dom0Doc, DomUDoc, FleetDoc};
use crate::fleet::{Debian, Fleet, Release};
use crate::units::Size;

/// The Debian suite of a fleet that names none.
const SUITE: &str = "trixie";

/// The version of the release of a fleet that names none.
const RELEASE_VERSION: &str = "1";

/// What a host has for dom0 that does not say so, if the release allows so much.
const DOM0_MEMORY: Size = Size::from_mib(512);

/// What Xen gives dom0 at boot where the fleet does not say so.
const DOM0_CEILING: Size = Size::from_mib(1024);

/// What a domU has if neither it nor the fleet says so.
const DOMU_MEMORY: Size = Size::from_mib(256);

/// The fleet of these documents; `None` if one of them lacks what it must have.
pub(crate) fn fleet(documents: &Documents) -> Option<Fleet> {
    let doc = documents.fleet.as_ref()?.body.as_ref()?;
    let hosts = documents.hosts.values();
    let hosts = hosts.map(|docs| host::host(docs, doc));
    let images = documents.images.values().map(recipe::recipe);
    Some(Fleet {
        name: value(&doc.name)?,
        release: release(doc),
        debian: debian(doc),
        hosts: hosts
            .map(|host| host.map(|host| (host.name.clone(), host)))
            .collect::<Option<_>>()?,
        images: images
            .map(|image| image.map(|image| (image.name.clone(), image)))
            .collect::<Option<_>>()?,
    })
}

fn release(doc: &FleetDoc) -> Release {
    let release = doc.release.as_ref();
    let version = release.and_then(|release| value(&release.version));
    Release {
        version: version.unwrap_or_else(|| RELEASE_VERSION.to_owned()),
        dom0_memory: dom0_ceiling(doc),
        packages: release.map_or(Vec::new(), |release| values(&release.packages)),
    }
}

fn debian(doc: &FleetDoc) -> Debian {
    let debian = doc.debian.as_ref();
    let suite = debian.and_then(|debian| value(&debian.suite));
    Debian {
        suite: suite.unwrap_or_else(|| SUITE.to_owned()),
        mirror: debian.and_then(|debian| value(&debian.mirror)),
    }
}

/// What Xen gives dom0 at boot.
pub(crate) fn dom0_ceiling(doc: &FleetDoc) -> Size {
    let written = doc.release.as_ref().and_then(|it| value(&it.dom0_memory));
    written.unwrap_or(DOM0_CEILING)
}

/// What a host leaves dom0.
pub(crate) fn dom0_memory(dom0: Option<&Dom0Doc>, doc: &FleetDoc) -> Size {
    let written = dom0.and_then(|dom0| value(&dom0.memory));
    written.unwrap_or(DOM0_MEMORY.min(dom0_ceiling(doc)))
}

/// What a domU has.
pub(crate) fn domu_memory(domu: &DomUDoc, defaults: &Defaults) -> Size {
    let written = domu.memory.as_ref().or(defaults.memory.as_ref());
    written.map_or(DOMU_MEMORY, |memory| memory.value)
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
