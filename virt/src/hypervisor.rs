// SPDX-License-Identifier: GPL-3.0-or-later
//! A connection to libvirt and what is done to domains through it.

use std::fmt;

use anyhow::{Context, Result, anyhow, ensure};
use domus_model::units::Size;
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber, clear_error_callback};
use virt::sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE;

/// Xen on this host, by libvirt's system daemon.
pub const XEN: &str = "xen:///system";

/// An open connection to libvirt. One connection serves many threads: the daemon works on five
/// requests of it at a time (`max_client_requests` in libvirtd.conf) and queues the rest.
pub struct Hypervisor {
    pub(crate) connect: Connect,
    uri: String,
}

/// A domain that runs, dom0 excepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its number, which changes with every start.
    pub id: u32,
}

impl Hypervisor {
    /// Connects to libvirt at `uri`.
    ///
    /// # Errors
    /// The daemon does not run, or has no driver for `uri`.
    pub fn open(uri: &str) -> Result<Self> {
        // By default libvirt also prints every error to standard error.
        clear_error_callback();
        let connect = Connect::open(Some(uri))
            .map_err(words)
            .with_context(|| format!("connecting to libvirt at {uri}"))?;
        Ok(Self {
            connect,
            uri: uri.to_owned(),
        })
    }

    /// Domains that run, by name.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn domains(&self) -> Result<Vec<Running>> {
        let listed = self
            .connect
            .list_all_domains(VIR_CONNECT_LIST_DOMAINS_ACTIVE);
        let mut found = Vec::new();
        for domain in listed.map_err(words).context("listing domains")? {
            // None: it ended since it was listed. 0 is dom0.
            if let Some(id @ 1..) = domain.get_id() {
                let name = domain
                    .get_name()
                    .map_err(words)
                    .context("listing domains")?;
                found.push(Running { name, id });
            }
        }
        found.sort();
        Ok(found)
    }

    /// Starts a domain from its XML and returns its number. libvirt forgets it when it ends.
    ///
    /// # Errors
    /// libvirt or Xen refuses it, or a domain of that name runs already.
    pub fn create(&self, xml: &str) -> Result<u32> {
        ensure!(
            !xml.contains('\0'),
            "creating the domain: its XML contains a NUL"
        );
        let domain = Domain::create_xml(&self.connect, xml, 0)
            .map_err(words)
            .context("creating the domain")?;
        domain
            .get_id()
            .context("the domain ended as soon as it was created")
    }

    /// Asks the guest `name` to shut down. Returns before it has. For Xen's guests see the agent:
    /// libxl waits for each.
    ///
    /// # Errors
    /// No such domain runs, or the guest cannot be asked.
    pub fn shutdown(&self, name: &str) -> Result<()> {
        let doing = || format!("asking {name} to shut down");
        let domain = self.find(name).with_context(doing)?;
        domain
            .shutdown()
            .map(drop)
            .map_err(words)
            .with_context(doing)
    }

    /// Ends the domain `name` at once, as if its power were cut.
    ///
    /// # Errors
    /// No such domain runs, or Xen refuses.
    pub fn destroy(&self, name: &str) -> Result<()> {
        let doing = || format!("destroying {name}");
        let domain = self.find(name).with_context(doing)?;
        domain.destroy().map_err(words).with_context(doing)
    }

    /// Memory that Xen has given to nobody.
    ///
    /// # Errors
    /// libvirt does not know.
    pub fn free_memory(&self) -> Result<Size> {
        let bytes = self.connect.get_free_memory().map_err(words);
        Ok(Size::from_kib(
            bytes.context("asking Xen for its free memory")? >> 10,
        ))
    }

    /// Whether there is a domain `name`, running or between two runs: one whose guest restarts
    /// is not listed by [`Hypervisor::domains`] for a moment. One that libvirt keeps the
    /// definition of (Domus leaves none) is there while it runs.
    ///
    /// # Errors
    /// libvirt does not say.
    pub fn knows(&self, name: &str) -> Result<bool> {
        let doing = || format!("looking for the domain {name}");
        let Some(domain) = self.look_up(name).with_context(doing)? else {
            return Ok(false);
        };
        let there = domain
            .is_persistent()
            .and_then(|kept| Ok(!kept || domain.is_active()?));
        match there {
            // It has ended since.
            Err(error) if error.code() == ErrorNumber::NoDomain => Ok(false),
            there => there.map_err(words).with_context(doing),
        }
    }

    /// The UUID of the domain `name`, if there is one.
    ///
    /// # Errors
    /// libvirt does not say.
    pub fn uuid(&self, name: &str) -> Result<Option<Uuid>> {
        let doing = || format!("asking for the UUID of {name}");
        let Some(domain) = self.look_up(name).with_context(doing)? else {
            return Ok(None);
        };
        domain
            .get_uuid()
            .map(Some)
            .map_err(words)
            .with_context(doing)
    }

    pub(crate) fn find(&self, name: &str) -> Result<Domain> {
        self.look_up(name)?.context("no such domain runs")
    }

    pub(crate) fn look_up(&self, name: &str) -> Result<Option<Domain>> {
        ensure!(!name.contains('\0'), "{name:?} is no domain's name");
        match Domain::lookup_by_name(&self.connect, name) {
            Ok(domain) => Ok(Some(domain)),
            Err(error) if error.code() == ErrorNumber::NoDomain => Ok(None),
            Err(error) => Err(words(error)),
        }
    }
}

impl fmt::Debug for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hypervisor")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

impl Drop for Hypervisor {
    fn drop(&mut self) {
        // `Connect` does not close itself. A connection that is broken already is closed anyway.
        let _ = self.connect.close();
    }
}

/// libvirt's message, without the numbers that its bindings add.
pub(crate) fn words(error: Error) -> anyhow::Error {
    anyhow!("libvirt: {}", error.message())
}
