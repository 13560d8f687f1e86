// SPDX-License-Identifier: GPL-3.0-or-later
//! Somebody who waits for domUs. He looks at them when XenStore says something of them, or an agent has noted something,
//! and not again and again: what he asks XenStore and libvirt takes its time of what he waits for.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use crate::context::Context;
use crate::ears::{Ears, Told};
use crate::observe::Observer;
use crate::pace;
use crate::status::LOOK;

/// He looks so often if nothing is heard, and nothing noted: states change with time, too, and a domain that ended
/// leaves its name for a moment.
const TICK: Duration = Duration::from_secs(3);
/// What is heard within so long of each other is looked at once.
const TOGETHER: Duration = Duration::from_millis(20);

/// What he hears, and what had been noted when he last looked.
pub(crate) struct Lookout {
    say: Sender<Told>,
    hear: Receiver<Told>,
    ears: Option<Ears>,
    noted: Vec<Option<SystemTime>>,
}

impl Lookout {
    pub(crate) fn new() -> Self {
        let (say, hear) = channel();
        Self {
            say,
            hear,
            ears: None,
            noted: Vec::new(),
        }
    }

    /// Domains by the names that XenStore has for them, dom0 excepted. What comes after is heard.
    ///
    /// # Errors
    /// XenStore is not there.
    pub(crate) fn domains(
        &mut self,
        context: &Context,
        observer: &mut Observer,
    ) -> Result<BTreeMap<String, u32>> {
        self.noted = notes(context);
        if self.ears.is_none() {
            let say = self.say.clone();
            self.ears = Ears::open(move |heard| say.send(heard).is_ok()).ok();
        }
        let domains = observer.named()?;
        if let Some(ears) = &mut self.ears
            && ears.listen_to(domains.values().copied()).is_err()
        {
            self.ears = None;
        }
        Ok(domains)
    }

    /// Rests after a look that was begun at `look` until there is something to look at, but not beyond what is `left`.
    /// Notes are free, so he looks for these every [`LOOK`]; and for all, while XenStore cannot be listened to.
    pub(crate) fn rest(
        &mut self,
        context: &Context,
        observer: &mut Observer,
        look: Instant,
        left: Duration,
    ) {
        let until = Instant::now() + left.min(if self.ears.is_some() { TICK } else { LOOK });
        pace::rest(look, TOGETHER, left);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let first = self.hear.recv_timeout(left.min(LOOK)).ok();
            let heard: Vec<Told> = first.into_iter().chain(self.hear.try_iter()).collect();
            for heard in &heard {
                match heard {
                    Told::Domains => {}
                    Told::Guest(id) => observer.forget(*id),
                    Told::Nothing => self.ears = None,
                }
            }
            if !heard.is_empty() || left.is_zero() || notes(context) != self.noted {
                return;
            }
        }
    }
}

/// When something was last noted about each domU.
fn notes(context: &Context) -> Vec<Option<SystemTime>> {
    let names = context.host.domus.keys();
    let noted = |dir| fs::metadata(dir).and_then(|meta| meta.modified()).ok();
    names.map(|name| noted(context.paths.domu(name))).collect()
}
