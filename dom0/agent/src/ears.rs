// SPDX-License-Identifier: GPL-3.0-or-later
//! What XenStore tells whoever watches: that domains came or went, and that a guest said something of itself.

use std::collections::BTreeSet;
use std::thread;

use anyhow::{Context as _, Result};
use domus_model::report::REPORT_NODE;
use domus_system::xenstore::watch::{self, INTRODUCED, RELEASED, Watcher};

use crate::observe::DOMAINS;

/// What XenStore told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// A domain came or went.
    Domains,
    /// The guest in this domain says something of itself.
    Guest(u32),
    /// Nothing any more: XenStore ended.
    Nothing,
}

impl Told {
    fn of(path: &str) -> Self {
        let domain = path.strip_prefix(DOMAINS);
        let id = domain.and_then(|path| path.split('/').nth(1)?.parse().ok());
        id.map_or(Self::Domains, Self::Guest)
    }
}

/// Watches in XenStore: for domains, and for the report of each one's guest.
pub(crate) struct Ears {
    watcher: Watcher,
    guests: BTreeSet<u32>,
}

impl Ears {
    /// A thread says what it hears, until `say` wants no more.
    ///
    /// # Errors
    /// XenStore is not there, or no thread can be started.
    pub(crate) fn open(mut say: impl FnMut(Told) -> bool + Send + 'static) -> Result<Self> {
        let (mut watcher, mut listener) = watch::open()?;
        watcher.watch(INTRODUCED)?;
        watcher.watch(RELEASED)?;
        let listen = move || {
            while let Ok(path) = listener.heard() {
                if !say(Told::of(&path)) {
                    return;
                }
            }
            say(Told::Nothing);
        };
        let thread = thread::Builder::new().name("xenstore".to_owned());
        thread
            .spawn(listen)
            .context("starting a thread that listens to XenStore")?;
        let guests = BTreeSet::new();
        Ok(Self { watcher, guests })
    }

    /// Listens to the guests in these domains, and to no others.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn listen_to(&mut self, domains: impl Iterator<Item = u32>) -> Result<()> {
        let node = |id: u32| format!("{DOMAINS}/{id}/{REPORT_NODE}");
        let ids: BTreeSet<u32> = domains.collect();
        for &id in ids.difference(&self.guests) {
            self.watcher.watch(&node(id))?;
        }
        for &id in self.guests.difference(&ids) {
            self.watcher.forget(&node(id))?;
        }
        self.guests = ids;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_who_speaks() {
        for (path, heard) in [
            (INTRODUCED, Told::Domains),
            (RELEASED, Told::Domains),
            ("/local/domain/7/data/domus/report", Told::Guest(7)),
        ] {
            assert_eq!(Told::of(path), heard, "{path}");
        }
    }
}
