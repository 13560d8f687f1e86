// SPDX-License-Identifier: GPL-3.0-or-later
//! What runs on this host: by libvirt, by XenStore, and by the guests' own words. Connections are
//! kept open, and opened again after they broke.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use domus_model::refresh::REFRESH_NODE;
use domus_model::report::{REPORT_NODE, Report};
use domus_system::xenstore::XenStore;
use domus_virt::{Hypervisor, Running};
use uuid::Uuid;

use crate::context::Context;
use crate::loops::VBDS;
use crate::notes::one_line;

/// Where XenStore has domains.
pub(crate) const DOMAINS: &str = "/local/domain";
/// `XenbusStateConnected` of xen/io/xenbus.h.
const CONNECTED: &str = "4";

/// Looks at this host.
pub(crate) struct Observer {
    uri: String,
    hypervisor: Option<Arc<Hypervisor>>,
    store: Option<XenStore>,
    /// Reports of guests that are well, by domain number: until one says something else.
    heard: BTreeMap<u32, Report>,
    /// Names by domain number: a domain keeps its own.
    names: BTreeMap<u32, String>,
}

/// The domains of this host, dom0 excepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Domains {
    /// Those that libvirt knows, by name.
    pub(crate) running: BTreeMap<String, u32>,
    /// Those that only XenStore knows: made with `xl`, or lost by a libvirt that was killed.
    pub(crate) unknown: BTreeMap<String, u32>,
}

impl Domains {
    /// These, and none that libvirt does not know.
    pub(crate) fn known(running: BTreeMap<String, u32>) -> Self {
        Self {
            running,
            unknown: BTreeMap::new(),
        }
    }

    /// The numbers of all of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.running.values().chain(self.unknown.values()).copied()
    }
}

impl Observer {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            uri: context.uri.clone(),
            hypervisor: None,
            store: None,
            heard: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// The connection to libvirt.
    pub(crate) fn hypervisor(&mut self) -> Result<&Arc<Hypervisor>> {
        match &mut self.hypervisor {
            Some(hypervisor) => Ok(hypervisor),
            none => Ok(none.insert(Arc::new(Hypervisor::open(&self.uri)?))),
        }
    }

    /// Forgets the connection to libvirt: it ended.
    pub(crate) fn disconnect(&mut self) {
        self.hypervisor = None;
    }

    /// Whether libvirt has a domain of this name, running or just being started again.
    pub(crate) fn is_known(&mut self, name: &str) -> Result<bool> {
        let known = self.hypervisor()?.knows(name);
        if known.is_err() {
            self.hypervisor = None;
        }
        known
    }

    /// Domains that libvirt runs.
    pub(crate) fn running(&mut self) -> Result<BTreeMap<String, u32>> {
        let found = self.hypervisor()?.domains();
        if found.is_err() {
            self.hypervisor = None;
        }
        let pair = |domain: Running| (domain.name, domain.id);
        let running: BTreeMap<String, u32> = found?.into_iter().map(pair).collect();
        self.heard
            .retain(|id, _| running.values().any(|other| other == id));
        Ok(running)
    }

    /// Domains by the names that XenStore has for them, dom0 excepted.
    pub(crate) fn named(&mut self) -> Result<BTreeMap<String, u32>> {
        let mut names = std::mem::take(&mut self.names);
        names = self.ask(|store| {
            let ids = store.list(DOMAINS)?;
            let ids: BTreeSet<u32> = ids.iter().filter_map(|id| id.parse().ok()).collect();
            names.retain(|id, _| ids.contains(id));
            for id in ids.into_iter().filter(|id| *id != 0) {
                if !names.contains_key(&id)
                    && let Some(name) = store.read(&format!("{DOMAINS}/{id}/name"))?
                {
                    names.insert(id, name);
                }
            }
            Ok(names)
        })?;
        self.heard.retain(|id, _| names.contains_key(id));
        let running = names.iter().map(|(id, name)| (name.clone(), *id)).collect();
        self.names = names;
        Ok(running)
    }

    /// Domains that libvirt runs, and those that it does not know.
    pub(crate) fn domains(&mut self) -> Result<Domains> {
        let running = self.running()?;
        let ids: BTreeSet<u32> = running.values().copied().chain([0]).collect();
        let unknown = self.ask(|store| {
            let mut unknown = BTreeMap::new();
            for id in store.list(DOMAINS)?.iter().filter_map(|id| id.parse().ok()) {
                if !ids.contains(&id)
                    && let Some(name) = store.read(&format!("{DOMAINS}/{id}/name"))?
                    && !running.contains_key(&name)
                {
                    unknown.insert(name, id);
                }
            }
            Ok(unknown)
        })?;
        Ok(Domains { running, unknown })
    }

    /// What the guest in domain `id` says of itself, if it said something; else why that cannot
    /// be read.
    pub(crate) fn report(&mut self, id: u32) -> Result<Option<Report>, String> {
        if let Some(report) = self.heard.get(&id) {
            return Ok(Some(report.clone()));
        }
        let node = format!("{DOMAINS}/{id}/{REPORT_NODE}");
        let text = self
            .ask(|store| store.read(&node))
            .map_err(|error| one_line(&error))?;
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let report = Report::parse(&text)?;
        if report.ill.is_none() {
            self.heard.insert(id, report.clone());
        }
        Ok(Some(report))
    }

    /// Forgets what the guest in domain `id` said: it says something else now.
    pub(crate) fn forget(&mut self, id: u32) {
        self.heard.remove(&id);
    }

    /// The device of dom0 that domain `id` has as its disk `name`, as `xvdb`.
    pub(crate) fn disk(&mut self, id: u32, name: &str) -> Result<PathBuf> {
        let found = self.ask(|store| {
            let disks = format!("{VBDS}/{id}");
            for disk in store.list(&disks)? {
                let disk = format!("{disks}/{disk}");
                if store.read(&format!("{disk}/dev"))?.as_deref() == Some(name) {
                    return store.read(&format!("{disk}/params"));
                }
            }
            Ok(None)
        })?;
        let found = found.with_context(|| format!("XenStore has no disk {name} of domain {id}"))?;
        Ok(PathBuf::from(found))
    }

    /// Tells the guest in domain `id` to take what its config disk has now.
    pub(crate) fn tell(&mut self, id: u32, refresh: &str) -> Result<()> {
        let node = format!("{DOMAINS}/{id}/{REFRESH_NODE}");
        self.ask(|store| store.write(&node, refresh))
    }

    /// The UUID of domain `id`, if XenStore says one.
    pub(crate) fn uuid(&mut self, id: u32) -> Option<Uuid> {
        let path = self.ask(|store| store.read(&format!("{DOMAINS}/{id}/vm")));
        path.ok()??.strip_prefix("/vm/")?.parse().ok()
    }

    /// Whether the guest in domain `id` has connected one of its disks: an image's kernel does so
    /// by a module that its initramfs loads, hence when user space runs.
    pub(crate) fn uses_its_disks(&mut self, id: u32) -> Result<bool> {
        self.ask(|store| {
            let disks = format!("{DOMAINS}/{id}/device/vbd");
            for disk in store.list(&disks)? {
                if store.read(&format!("{disks}/{disk}/state"))?.as_deref() == Some(CONNECTED) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Asks the guest `name`, in domain `id`, to shut down. Returns before it has.
    ///
    /// libvirt would ask Xen's guests the same way, but wait up to a minute for each to hear it,
    /// and let nobody else look at that domain meanwhile.
    pub(crate) fn ask_to_end(&mut self, name: &str, id: u32) -> Result<()> {
        if !self.uri.starts_with("xen:") {
            return self.hypervisor()?.shutdown(name);
        }
        let control = format!("{DOMAINS}/{id}/control");
        self.ask(|store| {
            // One that is gone by now gets no new directory.
            if store.read(&control)?.is_some() {
                store.write(&format!("{control}/shutdown"), "poweroff")?;
            }
            Ok(())
        })
        .with_context(|| format!("asking {name} to shut down"))
    }

    /// Asks XenStore something. After an error the connection may be in the middle of an answer:
    /// the next question opens another.
    pub(crate) fn ask<T>(&mut self, question: impl FnOnce(&XenStore) -> Result<T>) -> Result<T> {
        let store = match self.store.take() {
            Some(store) => store,
            None => XenStore::open()?,
        };
        let answer = question(&store)?;
        self.store = Some(store);
        Ok(answer)
    }
}
